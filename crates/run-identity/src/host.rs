//! Facts about the machine.

use std::{collections::BTreeMap, env::consts, fs, process::Command, thread};

/// The machine on which a run takes place. Unknown facts are `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostFacts {
    /// Its host name.
    pub name: Option<String>,
    /// Its processor architecture, as OpenTelemetry names it: `amd64`, `arm64`.
    pub arch: String,
    /// Its operating system, as OpenTelemetry names it: `linux`, `darwin`, `windows`.
    pub os: String,
    /// How many threads it runs in parallel.
    pub cpus: Option<usize>,
}

impl HostFacts {
    /// The facts of this machine.
    pub fn of_machine() -> Self {
        let name = fs::read_to_string("/proc/sys/kernel/hostname").ok().or_else(|| {
            let output = Command::new("uname").arg("-n").output().ok()?;
            String::from_utf8(output.stdout).ok()
        });
        Self {
            name: name.map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
            arch: match consts::ARCH {
                // The names of OpenTelemetry's conventions, which differ from those of Rust.
                "x86_64" => "amd64",
                "aarch64" => "arm64",
                "arm" => "arm32",
                other => other,
            }
            .to_owned(),
            os: match consts::OS {
                "macos" => "darwin",
                other => other,
            }
            .to_owned(),
            cpus: thread::available_parallelism().ok().map(usize::from),
        }
    }

    /// The facts as tags of a run.
    pub fn tags(&self) -> BTreeMap<String, String> {
        let facts = [
            ("host.name", self.name.clone()),
            ("host.arch", Some(self.arch.clone())),
            ("host.cpus", self.cpus.map(|cpus| cpus.to_string())),
            ("os.type", Some(self.os.clone())),
        ];
        facts.into_iter().filter_map(|(tag, fact)| Some((tag.to_owned(), fact?))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_a_name_and_processors() {
        let tags = HostFacts::of_machine().tags();
        assert!(tags["host.cpus"].parse::<usize>().unwrap() > 0);
        assert!(!tags["host.name"].is_empty() && !tags["host.name"].contains('\n'));
        assert_eq!(tags.len(), 4);
    }
}
