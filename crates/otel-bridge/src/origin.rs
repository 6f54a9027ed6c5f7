//! The origin of a signal: its run, the attributes that this adds to it, and where it is counted.

use std::sync::{Arc, OnceLock};

use opentelemetry::{
    Key, KeyValue, StringValue, Value,
    logs::{AnyValue, LogRecord as _},
};
use opentelemetry_sdk::logs::SdkLogRecord;

use crate::{
    ledger::{AllCounts, Losses},
    names::{self, Namespace, key},
    run_scope::RunScope,
};

/// The attributes and counters of a run, or of everything outside all runs, that its signals carry to each destination.
#[derive(Debug)]
pub(crate) struct Origin {
    run_attributes: Vec<KeyValue>,
    execution_run_id: OnceLock<i64>,
    pub(crate) counts: AllCounts,
}

impl Origin {
    pub(crate) fn of_run(scope: &RunScope, namespace: &Namespace, losses: &Losses) -> Self {
        let text = |text: String| StringValue::from(Arc::<str>::from(text));
        let run_id = text(scope.run_id.to_string());
        let own_key = Key::from(Arc::<str>::from(namespace.key(names::Key::RunId)));
        let run_attributes = vec![
            KeyValue::new(key::HAMILTON_RUN_ID, run_id.clone()),
            KeyValue::new(key::HAMILTON_DAG_NAME, text(scope.dag_name.to_string())),
            KeyValue::new(own_key, run_id),
        ];
        let counts = AllCounts::new(losses, Some(scope.dag_name.as_str()));
        Self { run_attributes, execution_run_id: OnceLock::new(), counts }
    }

    /// Outside all runs no attributes are added.
    pub(crate) fn outside(losses: &Losses) -> Self {
        let counts = AllCounts::new(losses, None);
        Self { run_attributes: Vec::new(), execution_run_id: OnceLock::new(), counts }
    }

    /// Remembers the id that the tracking server gave the run; only the first one counts.
    pub(crate) fn set_execution_run_id(&self, id: i64) {
        let _ = self.execution_run_id.set(id);
    }

    pub(crate) fn add_run_attributes(&self, record: &mut SdkLogRecord) {
        for attribute in self.run_attributes() {
            let value = match attribute.value {
                Value::I64(number) => AnyValue::Int(number),
                Value::String(text) => AnyValue::String(text),
                other => AnyValue::String(other.to_string().into()),
            };
            record.add_attribute(attribute.key, value);
        }
    }

    pub(crate) fn run_attributes(&self) -> impl Iterator<Item = KeyValue> + '_ {
        let execution = self.execution_run_id.get();
        let execution = execution.map(|&id| KeyValue::new(key::HAMILTON_EXECUTION_RUN_ID, id));
        self.run_attributes.iter().cloned().chain(execution)
    }
}
