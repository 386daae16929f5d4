//! What a demo is set up with: its folder, its binaries, its ports, and the recipe of every process.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tripline_collector::config::Listen;
use tripline_demo::mesh_document::mesh_document;
use tripline_demo::ports::{DEFAULT_BASE, PortPlan, Ports};
use tripline_demo::shop::{NAMESPACE, ServiceSpec};

use super::crew::Role;
use super::process::Recipe;
use crate::args::DemoArguments;

/// Name of the sidecar's binary.
const PROXY: &str = "tripline-proxy";
/// Names another one.
const PROXY_VARIABLE: &str = "TRIPLINE_PROXY_BIN";

/// Everything that is decided before the first process starts.
#[derive(Debug)]
pub(super) struct Setting {
    /// Where each service and sidecar listens.
    pub(super) ports: PortPlan,
    /// Where the collector listens.
    pub(super) listen: Listen,
    /// The OTLP/gRPC address that sidecars report to.
    pub(super) report_to: String,
    /// Where everything is written.
    pub(super) folder: Folder,
    program: PathBuf,
    proxy: PathBuf,
    sample_ratio: Option<f64>,
}

/// A folder that is removed in the end, if it was made for the demo only.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    temporary: bool,
}

impl Setting {
    /// Finds the binaries, checks the ports, makes the folder and writes the mesh document.
    pub(super) fn prepare(arguments: &DemoArguments) -> Result<Self> {
        let ports = PortPlan::new(arguments.port_base.unwrap_or(DEFAULT_BASE))?;
        let listen = listen(arguments.port_base);
        let program = std::env::current_exe().context("cannot find this program's own file")?;
        let proxy = find_proxy(&program, std::env::var_os(PROXY_VARIABLE))?;
        let collector = arguments.report_to.is_none().then_some(listen);
        check_free(&ports, collector)?;
        let folder = Folder::make(arguments)?;
        let setting = Self {
            ports,
            listen,
            report_to: arguments.report_to.clone().unwrap_or_else(|| format!("http://{}", listen.otlp_grpc)),
            folder,
            program,
            proxy,
            sample_ratio: arguments.sample_ratio,
        };
        let mesh = setting.mesh();
        std::fs::write(&mesh, mesh_document(&setting.ports))
            .with_context(|| format!("cannot write {}", mesh.display()))?;
        Ok(setting)
    }

    /// The mesh document.
    pub(super) fn mesh(&self) -> PathBuf {
        self.folder.path().join("shop-mesh.yaml")
    }

    /// The output of all processes.
    pub(super) fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }

    /// The collector's data.
    pub(super) fn collector_data(&self) -> PathBuf {
        self.folder.path().join("collector")
    }

    /// How to start a service or its sidecar.
    pub(super) fn recipe(&self, role: Role, spec: &ServiceSpec, ports: Ports) -> Recipe {
        match role {
            Role::Service => Recipe {
                label: spec.name.to_owned(),
                program: self.program.clone(),
                arguments: words([
                    "demo-service",
                    spec.name,
                    "--listen",
                    &ports.app.to_string(),
                    "--sidecar",
                    &ports.outbound.to_string(),
                    "--exit-with-stdin",
                ]),
                environment: Vec::new(),
                log: self.logs().join(format!("{}.log", spec.name)),
            },
            Role::Sidecar => Recipe {
                label: format!("the sidecar of {}", spec.name),
                program: self.proxy.clone(),
                arguments: self.sidecar_arguments(spec),
                environment: vec![
                    ("TRIPLINE_INBOUND", ports.inbound.to_string()),
                    ("TRIPLINE_OUTBOUND", ports.outbound.to_string()),
                    ("TRIPLINE_ADMIN", ports.admin.to_string()),
                    ("TRIPLINE_APP", ports.app.to_string()),
                    ("TRIPLINE_COLLECTOR", self.report_to.clone()),
                ],
                log: self.logs().join(format!("{}.sidecar.log", spec.name)),
            },
        }
    }

    fn sidecar_arguments(&self, spec: &ServiceSpec) -> Vec<OsString> {
        let mut arguments = words(["--node", &format!("{NAMESPACE}/{}", spec.name), "--exit-with-stdin"]);
        arguments.extend(["--mesh".into(), self.mesh().into_os_string()]);
        if let Some(ratio) = self.sample_ratio {
            arguments.extend(words(["--sample-ratio", &ratio.to_string()]));
        }
        arguments
    }
}

impl Folder {
    fn make(arguments: &DemoArguments) -> Result<Self> {
        let folder = match &arguments.data_dir {
            Some(path) => {
                std::fs::create_dir_all(path).with_context(|| format!("cannot make {}", path.display()))?;
                Self { path: path.clone(), temporary: false }
            }
            None => {
                let path = std::env::temp_dir().join(format!("tripline-demo-{}", std::process::id()));
                // A folder that exists is not ours: make no use of what someone else has put there.
                std::fs::create_dir(&path).with_context(|| format!("cannot make {}", path.display()))?;
                Self { path, temporary: !arguments.keep_logs }
            }
        };
        let logs = folder.path.join("logs");
        std::fs::create_dir_all(&logs).with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(folder)
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it stays after the demo.
    pub(super) const fn stays(&self) -> bool {
        !self.temporary
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = std::fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, folder = %self.path.display(), "could not be removed");
        }
    }
}

fn words<const N: usize>(words: [&str; N]) -> Vec<OsString> {
    words.map(OsString::from).into()
}

/// The collector's addresses: its defaults, or the first three ports of the base.
fn listen(base: Option<u16>) -> Listen {
    let Some(base) = base else { return Listen::default() };
    let at = |offset| SocketAddr::from((Ipv4Addr::LOCALHOST, base.saturating_add(offset)));
    Listen { http: at(0), otlp_grpc: at(1), otlp_http: at(2), xray: None }
}

/// The sidecar's binary: the one that the variable names, or the one beside this program.
fn find_proxy(program: &Path, named: Option<OsString>) -> Result<PathBuf> {
    let beside = program.with_file_name(PROXY);
    let (path, how) = match named.filter(|name| !name.is_empty()) {
        Some(named) => (PathBuf::from(named), format!("{PROXY_VARIABLE} names it, but")),
        None => (beside, format!("{PROXY} is looked for beside this program, but")),
    };
    if path.is_file() {
        return Ok(path);
    }
    Err(anyhow!(
        "{how} there is no {}: build it with `cargo xtask build --release`, or name it in {PROXY_VARIABLE}",
        path.display()
    ))
}

/// Fails with all ports that are taken, before half of the processes run and the others cannot.
fn check_free(plan: &PortPlan, collector: Option<Listen>) -> Result<()> {
    let mut wanted: Vec<(String, SocketAddr)> = Vec::new();
    if let Some(listen) = collector {
        wanted.push(("the collector's HTTP".to_owned(), listen.http));
        wanted.push(("the collector's OTLP/gRPC".to_owned(), listen.otlp_grpc));
        wanted.push(("the collector's OTLP/HTTP".to_owned(), listen.otlp_http));
    }
    for (spec, ports) in plan.all() {
        wanted.push((format!("{}'s inbound", spec.name), ports.inbound));
        wanted.push((format!("{}'s outbound", spec.name), ports.outbound));
        wanted.push((format!("{}'s admin", spec.name), ports.admin));
        wanted.push((spec.name.to_owned(), ports.app));
    }
    let refused = |error: &io::Error| error.kind() == io::ErrorKind::AddrInUse;
    let taken: Vec<String> = wanted
        .into_iter()
        .filter(|(_, address)| TcpListener::bind(address).as_ref().is_err_and(refused))
        .map(|(whose, address)| format!("{} ({whose})", address.port()))
        .collect();
    if taken.is_empty() {
        return Ok(());
    }
    bail!("taken: port {}; end what listens there, or choose other ports with --port-base", taken.join(", port "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sidecar_that_is_not_there_is_told_with_the_fix() {
        let nowhere = Path::new("/nowhere/tripline");
        let beside = find_proxy(nowhere, None).expect_err("nothing there").to_string();
        assert!(beside.contains("/nowhere/tripline-proxy") && beside.contains("cargo xtask build"), "{beside}");
        let named = find_proxy(nowhere, Some("/elsewhere/p".into())).expect_err("nothing there").to_string();
        assert!(named.contains("/elsewhere/p") && named.contains(PROXY_VARIABLE), "{named}");
        let this = std::env::current_exe().expect("this program");
        assert_eq!(find_proxy(nowhere, Some(this.clone().into())).expect("it is there"), this);
    }

    #[test]
    fn taken_ports_are_told_with_their_owners() {
        // The first port of a listener that the system chose stands for the outbound half of the gateway's sidecar.
        let other = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = other.local_addr().expect("an address").port();
        let plan = PortPlan::new(port - 11).expect("a good base");
        let error = check_free(&plan, None).expect_err("taken").to_string();
        assert!(
            error.contains(&format!("port {port} (gateway's outbound)")) && error.contains("--port-base"),
            "{error}"
        );
    }

    #[test]
    fn the_collector_gets_the_first_ports_of_a_base() {
        assert_eq!(listen(None), Listen::default());
        let listen = listen(Some(9000));
        assert_eq!([listen.http, listen.otlp_grpc, listen.otlp_http].map(|a| a.port()), [9000, 9001, 9002]);
    }
}
