//! Damage to a run that is not closed yet, which can no longer be detected after it was closed.

use crate::{
    bundle::Bundle, evidence::ProcessEvidence, file_damage::FileDamage, layout::MANIFEST, manifest::Manifest,
};

impl Manifest {
    /// The damage that a command has to record when it closes the run. Closing lists the files as they are at that time, so a
    /// missing file, or a damaged one that is not kept, can no longer be detected afterwards. `read` is the damage that was found
    /// while reading; damage to the manifest itself stays visible without being recorded.
    pub fn damages_hidden_by_closing(&self, bundle: &Bundle, read: Vec<FileDamage>) -> Vec<FileDamage> {
        let read = read.into_iter().filter(|damage| damage.file != MANIFEST);
        let lost = self.lasting_files().filter_map(|entry| {
            let problem = entry.loss(bundle)?;
            Some(FileDamage::new(&*entry.path, problem))
        });
        read.chain(ProcessEvidence::missing_of(bundle, self)).chain(lost).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::{
        file_entry::FileEntry,
        fixture::{self, bundle},
        manifest::{NodeStatus, RunStatus},
        run_progress::RunProgress,
    };

    #[test]
    fn what_a_closed_run_does_not_show_is_told() {
        let (_out, bundle) = bundle();
        fs::write(bundle.traces(), "{}\n").unwrap();
        fs::write(bundle.tracker_dir().join("outbox.jsonl"), "{}\n").unwrap();
        let mut manifest = Manifest { status: RunStatus::Running, ..fixture::manifest() };
        manifest.nodes[0].status = NodeStatus::NotRun;
        manifest.files = FileEntry::list(&bundle);
        manifest.write(&bundle).unwrap();
        let told = || {
            let (manifest, damages) = Manifest::read_with_damages(&bundle).unwrap();
            let told = manifest.damages_hidden_by_closing(&bundle, damages);
            told.into_iter().map(|damage| damage.file).collect::<Vec<_>>()
        };
        // No node has started: the process may have died before its first beat.
        assert_eq!(told(), [""; 0]);
        let mut started = manifest.nodes[0].clone();
        started.status = NodeStatus::Unfinished;
        RunProgress::append(&bundle, &[RunProgress::Node(started)]).unwrap();
        assert_eq!(told(), ["heartbeat.json"]);
        ProcessEvidence::for_self(fixture::start(), 1.0).write(&bundle.heartbeat()).unwrap();
        assert_eq!(told(), [""; 0]);
        let lines = fs::read_to_string(bundle.nodes()).unwrap();
        fs::write(bundle.nodes(), format!("{lines}garbage\n")).unwrap();
        fs::remove_dir_all(bundle.tracker_dir()).unwrap();
        assert_eq!(told(), ["nodes.jsonl", "tracker/outbox.jsonl"]);
    }
}
