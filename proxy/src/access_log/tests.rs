//! Lines as they are written.

use tripline_mesh::LogFormat;

use super::*;

fn log(format: LogFormat) -> Arc<AccessLog> {
    AccessLog::new(&tripline_mesh::AccessLog { path: "/dev/null".into(), format }, Clock::start())
}

/// The line of one request; the time is that of the epoch, so that it can be compared.
fn line(format: LogFormat) -> String {
    let log = log(format);
    let request = http::Request::post("http://checkout.shop:80/pay?card=1").header("x-request-id", "a\"b");
    let (parts, ()) =
        request.header("user-agent", "curl/8").header("content-length", "12").body(()).unwrap().into_parts();
    let mut line = log.begin(&parts, Some(IpAddr::from([10, 0, 0, 9])));
    line.fields.began = log.clock.now();
    let (response, ()) = http::Response::builder().header("x-tripline-error", "timeout").body(()).unwrap().into_parts();
    line.answered(504, &response.headers);
    line.came_from("10.0.0.1:80");
    line.sent(7);
    drop(line);
    let mut waiting = log.waiting.lock().unwrap();
    waiting.remove(0)
}

#[test]
fn the_default_is_app_mesh_s_line() {
    let line = line(LogFormat::Default);
    let (time, rest) = line.split_once("] ").unwrap();
    assert!(time.starts_with("[20") && time.ends_with('Z'), "{time}");
    assert_eq!(
        rest,
        "\"POST /pay?card=1 HTTP/1.1\" 504 UT 12 7 0 - \"-\" \"curl/8\" \"a\"b\" \"checkout.shop:80\" \"10.0.0.1:80\"\n"
    );
}

#[test]
fn formats_of_text_and_json() {
    let text = "%% %RESPONSE_CODE_DETAILS% %REQ(X-NONE?USER-AGENT):4% %NO_SUCH% %REQ(X-NONE)% 100%";
    assert_eq!(line(LogFormat::Text(text.into())), "% timeout curl - - 100%\n");
    let pairs = [
        ("status", "%RESPONSE_CODE%"),
        ("id", "%REQ(x-request-id)%"),
        ("none", "%RESP(x)%"),
        ("both", "%BYTES_SENT%/%BYTES_RECEIVED%"),
    ];
    let json = LogFormat::Json(pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec());
    assert_eq!(line(json), "{\"status\":504,\"id\":\"a\\\"b\",\"none\":null,\"both\":\"7/12\"}\n");
}

#[test]
fn what_is_not_known_is_named_and_the_queue_is_bounded() {
    let (_, unknown) = Format::of(&LogFormat::Text("%A% %B(c)% %DURATION%".into()));
    assert_eq!(unknown, ["%A%", "%B(c)%"]);
    let log = log(LogFormat::Default);
    (0..MAX_LINES + 3).for_each(|_| log.push(String::new()));
    assert_eq!(log.lost()[0], ("queue_full", 3));
}

#[test]
fn a_log_that_cannot_be_written_is_counted_and_harms_nobody() {
    let declared = tripline_mesh::AccessLog { path: "/nowhere/at/all".into(), format: LogFormat::Default };
    let log = AccessLog::new(&declared, Clock::start());
    log.push("a line\n".to_owned());
    log.write_waiting();
    assert_eq!(log.lost()[1], ("not_written", 1));
}
