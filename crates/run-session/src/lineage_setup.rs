//! Where the events of OpenLineage of a process go.

use daglight_capture_policy::in_one_line;
use daglight_openlineage::{ParentRun, Target};
use daglight_settings::OpenLineageSettings;

/// Where the events of this process go, and what is the same for all of its runs.
#[derive(Debug, Clone)]
pub(crate) struct LineageSetup {
    pub(crate) target: Target,
    pub(crate) parent: Option<ParentRun>,
    pub(crate) root: Option<ParentRun>,
}

impl LineageSetup {
    /// `None` where no destination is set. What is wrong goes into `warnings`: it must not stop the pipeline.
    pub(crate) fn of(settings: &OpenLineageSettings, warnings: &mut Vec<String>) -> Option<Self> {
        let target = match Target::from_settings(settings) {
            Ok(target) => target?,
            Err(error) => {
                warnings.push(in_one_line(&error));
                return None;
            }
        };
        let mut run = |text: &Option<String>, setting: &str| {
            let read = text.as_deref()?.parse();
            read.inspect_err(|error| warnings.push(format!("{setting} is left out: {error}"))).ok()
        };
        let parent = run(&settings.parent_id, "openlineage.parent_id (OPENLINEAGE_PARENT_ID)");
        let root = run(&settings.root_parent_id, "openlineage.root_parent_id (OPENLINEAGE_ROOT_PARENT_ID)");
        Some(Self { target, parent, root })
    }

    /// Where the events go, as it may be shown.
    pub(crate) fn destination(&self) -> String {
        self.target.name()
    }
}
