//! The services of a compose file, each as a process on this machine: with its command, its variables and its folders.

use std::{
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{self, Command},
};

use dev_services::{Python, VirtualEnv};
use serde_json::Value;

use crate::{Checkout, Daglight, Running, otlp::python_file, scratch::workspace};

/// Where a container looks for programs.
const PATHS: [&str; 2] = ["/usr/local/bin", "/usr/bin"];

/// A compose file. Each service has its own address on the loopback interface, as it would have in a network of containers.
#[derive(Debug)]
pub struct Compose {
    services: Value,
    /// The programs that the image of a service brings along, each with what takes its place here.
    programs: Vec<(String, PathBuf, Option<String>)>,
}

impl Compose {
    /// Reads a file that conforms to the compose specification, with these variables.
    ///
    /// # Panics
    /// When it does not, or requires other variables.
    #[track_caller]
    pub fn read(file: &Path, variables: &[(&str, &Path)]) -> Self {
        let environment = Python::find()
            .map_err(Into::into)
            .and_then(|python| {
                VirtualEnv::prepare(&workspace(), &python, "compose", &python_file("compose.txt"))
            })
            .unwrap_or_else(|error| panic!("the Python environment of compose files: {error:#}"));
        let variables = variables.iter().map(|(name, value)| format!("{name}={}", value.display()));
        let mut command = Command::new(environment.python());
        command.arg(python_file("compose.py")).arg(file).args(variables);
        let read = command.output().expect("Python starts");
        assert!(read.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&read.stderr));
        Self {
            services: serde_json::from_slice(&read.stdout).expect("services as JSON"),
            programs: Vec::new(),
        }
    }

    /// A program that images bring along is this one here, with an argument before the others.
    #[must_use]
    pub fn with_program(mut self, name: &str, program: &Path, argument: &str) -> Self {
        self.programs.push((name.to_owned(), program.to_owned(), Some(argument.to_owned())));
        self
    }

    /// What the file says of a service.
    ///
    /// # Panics
    /// When there is none.
    #[track_caller]
    pub fn service(&self, name: &str) -> &Value {
        self.services.get(name).unwrap_or_else(|| panic!("no service {name} in {:#}", self.services))
    }

    /// Starts a service; `arguments` take the place of its command, as those of `docker compose run` do. Those that it depends on are healthy.
    ///
    /// # Panics
    /// When it cannot be started, or waits for one that is not in the file.
    #[track_caller]
    pub fn start(&self, checkout: &Checkout, name: &str, arguments: Option<&[&str]>) -> Running {
        let service = self.service(name);
        for other in names(&service["depends_on"]) {
            self.service(&other);
        }
        let command = match arguments {
            Some(arguments) => arguments.iter().map(ToString::to_string).collect(),
            None => texts(&service["command"]),
        };
        let mut line = texts(&service["entrypoint"]);
        line.extend(command);
        let program = line.remove(0);
        let (program, first) = self.program(service, &program);
        let line = first.into_iter().chain(line.iter().map(|argument| self.resolved(name, argument)));
        let mut call = Daglight::program(&program, checkout, line);
        if let Some(folder) = service["working_dir"].as_str() {
            assert_eq!(mounted(service, folder), checkout.path(), "its folder is the one with the data");
        }
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            call = call.env(variable, value.as_str().expect("a text"));
        }
        call.start()
    }

    /// Whether a service is healthy, by its own test.
    ///
    /// # Panics
    /// When it has none.
    pub fn is_healthy(&self, name: &str) -> bool {
        let test = texts(&self.service(name)["healthcheck"]["test"]);
        let [kind, program, arguments @ ..] = &test[..] else { panic!("no test of {name}: {test:?}") };
        assert_eq!(kind, "CMD");
        let arguments = arguments.iter().map(|argument| self.resolved(name, argument));
        Command::new(program).args(arguments).output().expect("the test starts").status.success()
    }

    /// What a service runs, with an argument before its own.
    fn program(&self, service: &Value, name: &str) -> (PathBuf, Option<String>) {
        if let Some((_, program, first)) = self.programs.iter().find(|(known, ..)| known == name) {
            return (program.clone(), first.clone());
        }
        let places: Vec<String> = PATHS.iter().map(|folder| format!("{folder}/{name}")).collect();
        let mounts = mounts(service);
        let program = mounts.iter().find(|(_, place)| places.contains(place));
        (program.unwrap_or_else(|| panic!("no program {name} in {mounts:?}")).0.clone(), None)
    }

    /// An argument with the addresses of this machine.
    fn resolved(&self, own: &str, argument: &str) -> String {
        let own = self.address(own).to_string();
        let argument = argument.replace("0.0.0.0", &own).replace("127.0.0.1", &own);
        let services = self.services.as_object().into_iter().flatten();
        services.fold(argument, |argument, (name, _)| {
            let address = self.address(name).to_string();
            match argument == *name {
                true => address,
                false => argument.replace(&format!("{name}:"), &format!("{address}:")),
            }
        })
    }

    /// Its address, which no other process of tests uses.
    fn address(&self, name: &str) -> Ipv4Addr {
        let mut names = self.services.as_object().into_iter().flatten().map(|(name, _)| name);
        let number = names.position(|other| other == name).unwrap_or_else(|| panic!("no service {name}"));
        let [.., high, low] = process::id().to_be_bytes();
        Ipv4Addr::new(127, 64 | high, low, u8::try_from(number + 1).expect("few services"))
    }
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().map(|text| text.as_str().expect("a text").to_owned()).collect()
}

/// Of a list, or of an object.
fn names(value: &Value) -> Vec<String> {
    match value.as_object() {
        Some(object) => object.keys().cloned().collect(),
        None => texts(value),
    }
}

/// Each place on this machine with that in the container.
fn mounts(service: &Value) -> Vec<(PathBuf, String)> {
    let mount = |volume: String| {
        let mut parts = volume.split(':');
        let (here, there) = parts.next().zip(parts.next()).expect("two places");
        (PathBuf::from(here), there.to_owned())
    };
    texts(&service["volumes"]).into_iter().map(mount).collect()
}

fn mounted(service: &Value, place: &str) -> PathBuf {
    let mounts = mounts(service);
    let found = mounts.iter().find(|(_, there)| there == place);
    found.unwrap_or_else(|| panic!("{place} is not mounted in {mounts:?}")).0.clone()
}
