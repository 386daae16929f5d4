//! Places: no tracked file names a folder of the machine it was written on.

use super::tree::Source;

/// Folders that exist on one machine only, put together from pieces so that this file passes its own rule.
const MACHINE_FOLDERS: [&str; 4] =
    [concat!("/wo", "rk/"), concat!("/fa", "rm/"), concat!("/ro", "ot/"), concat!("/Us", "ers/")];

/// Lines that name one.
pub(crate) fn check(source: &Source) -> Vec<String> {
    let lines = source.text.lines().enumerate();
    lines
        .filter_map(|(number, line)| {
            let folder = MACHINE_FOLDERS.iter().find(|folder| line.contains(*folder))?;
            Some(format!("{}:{}: names {folder}, a folder of one machine", source.path, number + 1))
        })
        .collect()
}

#[test]
fn every_machine_folder_is_found() {
    for folder in MACHINE_FOLDERS {
        let text = format!("run it\nin {folder}tripline\n");
        assert_eq!(
            check(&Source::sample("docs/a.md", &text)),
            [format!("docs/a.md:2: names {folder}, a folder of one machine")]
        );
    }
    assert_eq!(check(&Source::sample("docs/a.md", "in target/release/")), Vec::<String>::new());
}
