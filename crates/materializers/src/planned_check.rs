//! A check in the form in which it is evaluated on the batches of a node.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch},
    buffer::NullBuffer,
    compute::{cast, max},
    datatypes::{DataType, Float32Type, Float64Type, Schema, TimeUnit, TimestampMicrosecondType},
    error::ArrowError,
    row::{RowConverter, SortField},
};
use datafusion::{
    common::{DFSchema, tree_node::TreeNode},
    error::DataFusionError,
    execution::SessionState,
    logical_expr::{Expr, ExprSchemable, simplify::SimplifyContext},
    optimizer::simplify_expressions::ExprSimplifier,
    physical_plan::PhysicalExpr,
};

use crate::{
    check_keys::{Added, Keys, Room},
    check_syntax::nearest_rule,
    data_check::{CheckRule, DataCheck},
};

/// Why a check does not fit the columns of a node.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckPlanError {
    /// A column that the node does not have.
    #[error("there is no column {name:?}{}", of_columns(columns))]
    UnknownColumn {
        /// The name.
        name: String,
        /// The columns of the node.
        columns: Vec<String>,
    },
    /// A freshness check on something that is not a time.
    #[error("a freshness needs a date or a timestamp, but the column {column:?} is of the type {data_type}")]
    NotATime {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// Values that cannot be compared with each other.
    #[error("the values of the column {column:?}, of the type {data_type}, cannot be compared")]
    NotComparable {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
    },
    /// A condition whose value is not a boolean.
    #[error("a condition is true or false, but this one is of the type {data_type}")]
    NotACondition {
        /// Its type.
        data_type: DataType,
    },
    /// A condition that depends on more than one row.
    #[error("a condition applies to one row and cannot contain an aggregate, a window function or a query")]
    NotOfOneRow,
    /// DataFusion cannot plan the condition.
    #[error("the condition cannot be planned{}", did_you_mean(*nearest))]
    Condition {
        /// The rule with the most similar name, in its syntax.
        nearest: Option<&'static str>,
        /// Why.
        #[source]
        source: DataFusionError,
    },
}

impl CheckPlanError {
    fn condition(source: DataFusionError) -> Self {
        Self::Condition { nearest: None, source }
    }
}

fn did_you_mean(nearest: Option<&str>) -> String {
    nearest.map(|rule| format!("; did you mean `{rule}`?")).unwrap_or_default()
}

/// How many columns an error names.
const NAMED_COLUMNS: usize = 20;

fn of_columns(columns: &[String]) -> String {
    let named: Vec<String> = columns.iter().take(NAMED_COLUMNS).map(|column| format!("{column:?}")).collect();
    let more = columns.len().saturating_sub(NAMED_COLUMNS);
    match (named.as_slice(), more) {
        ([], _) => ": the node has no columns".to_owned(),
        (named, 0) => format!(": the node has {}", named.join(", ")),
        (named, more) => format!(": the node has {} and {more} more", named.join(", ")),
    }
}

/// The plan of a check.
#[derive(Debug, Clone)]
pub(crate) enum PlannedCheck {
    Rows,
    Unique { columns: Vec<usize>, fields: Vec<SortField>, room: Room },
    NotNull { columns: Vec<usize> },
    Freshness { column: usize, as_time: DataType },
    Condition(Arc<dyn PhysicalExpr>),
}

impl DataCheck {
    /// Checks whether the check matches the columns of a node.
    ///
    /// # Errors
    /// When it does not.
    pub fn fits(&self, session: &SessionState, schema: &Schema) -> Result<(), CheckPlanError> {
        self.plan(session, schema, 0).map(|_| ())
    }

    /// The columns that the check reads, if it matches the schema.
    pub(crate) fn columns_read(&self, session: &SessionState, schema: &Schema) -> Vec<String> {
        if self.rule != CheckRule::Condition {
            return self.columns().to_vec();
        }
        let Ok(condition) = self.condition(session, schema) else { return Vec::new() };
        condition.column_refs().into_iter().map(|column| column.name.clone()).collect()
    }

    /// Plans the check for rows with these columns. It may hold keys with this many bytes.
    pub(crate) fn plan(
        &self,
        session: &SessionState,
        schema: &Schema,
        key_bytes: usize,
    ) -> Result<PlannedCheck, CheckPlanError> {
        let columns = self
            .columns()
            .iter()
            .map(|name| index_of(schema, name))
            .collect::<Result<Vec<usize>, CheckPlanError>>()?;
        let field = |index: &usize| schema.field(*index);
        Ok(match &self.rule {
            CheckRule::Rows(_) => PlannedCheck::Rows,
            CheckRule::NotNull(_) => PlannedCheck::NotNull { columns },
            CheckRule::Unique(_) => {
                let sorted = columns.iter().map(|index| {
                    let field = SortField::new(field(index).data_type().clone());
                    RowConverter::supports_fields(std::slice::from_ref(&field)).then_some(field).ok_or_else(
                        || {
                            let (column, data_type) = column_of(schema, *index);
                            CheckPlanError::NotComparable { column, data_type }
                        },
                    )
                });
                let fields = sorted.collect::<Result<Vec<SortField>, CheckPlanError>>()?;
                PlannedCheck::Unique { columns, fields, room: Room::new(key_bytes) }
            }
            CheckRule::Freshness { .. } => {
                let column = columns[0];
                let zone = match field(&column).data_type() {
                    DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, None) => None,
                    DataType::Timestamp(_, Some(_)) => Some("+00:00".into()),
                    _ => {
                        let (column, data_type) = column_of(schema, column);
                        return Err(CheckPlanError::NotATime { column, data_type });
                    }
                };
                PlannedCheck::Freshness { column, as_time: DataType::Timestamp(TimeUnit::Microsecond, zone) }
            }
            CheckRule::Condition => {
                let condition = self.condition(session, schema)?;
                let schema = df_schema(schema)?;
                let planned = simplified(session, condition, &schema)
                    .and_then(|condition| session.create_physical_expr(condition, &schema));
                PlannedCheck::Condition(planned.map_err(CheckPlanError::condition)?)
            }
        })
    }

    fn condition(&self, session: &SessionState, schema: &Schema) -> Result<Expr, CheckPlanError> {
        let df_schema = df_schema(schema)?;
        let nearest = nearest_rule(self.text());
        let planned = session.create_logical_expr(self.text(), &df_schema);
        let condition = planned.map_err(|source| CheckPlanError::Condition { nearest, source })?;
        let spans_rows = condition.exists(|part| {
            Ok(matches!(
                part,
                Expr::AggregateFunction(_)
                    | Expr::WindowFunction(_)
                    | Expr::Exists(_)
                    | Expr::InSubquery(_)
                    | Expr::ScalarSubquery(_)
                    | Expr::SetComparison(_)
                    | Expr::Unnest(_)
            ))
        });
        if spans_rows.map_err(CheckPlanError::condition)? {
            return Err(CheckPlanError::NotOfOneRow);
        }
        match condition.get_type(&df_schema).map_err(CheckPlanError::condition)? {
            DataType::Boolean | DataType::Null => Ok(condition),
            data_type => Err(CheckPlanError::NotACondition { data_type }),
        }
    }
}

/// The condition after simplification by the optimizer: functions such as `coalesce` and `now` cannot be evaluated, and are
/// replaced.
fn simplified(session: &SessionState, condition: Expr, schema: &DFSchema) -> Result<Expr, DataFusionError> {
    let context = SimplifyContext::builder()
        .with_schema(Arc::new(schema.clone()))
        .with_config_options(Arc::clone(session.config_options()))
        .with_current_time()
        .build();
    let simplifier = ExprSimplifier::new(context);
    let condition = simplifier.coerce(condition, schema)?;
    simplifier.simplify(condition)
}

fn df_schema(schema: &Schema) -> Result<DFSchema, CheckPlanError> {
    DFSchema::try_from(schema.clone()).map_err(CheckPlanError::condition)
}

fn index_of(schema: &Schema, name: &str) -> Result<usize, CheckPlanError> {
    schema.index_of(name).map_err(|_| CheckPlanError::UnknownColumn {
        name: name.to_owned(),
        columns: schema.fields().iter().map(|field| field.name().clone()).collect(),
    })
}

fn column_of(schema: &Schema, index: usize) -> (String, DataType) {
    let field = schema.field(index);
    (field.name().clone(), field.data_type().clone())
}

/// The state of a check for the rows of a partition.
#[derive(Debug)]
pub(crate) enum Seen {
    Rows,
    Unique {
        converter: Option<RowConverter>,
        keys: Option<Keys>,
        repeated: u64,
    },
    NotNull {
        failing: u64,
    },
    /// In microseconds since 1970, in UTC.
    Freshness {
        newest: Option<i64>,
    },
    Condition {
        failing: u64,
        unknown: u64,
    },
    /// It could not be computed, for a reason that may contain values.
    Failed(String),
}

impl Seen {
    pub(crate) fn nothing(planned: &PlannedCheck) -> Self {
        match planned {
            PlannedCheck::Rows => Self::Rows,
            PlannedCheck::Unique { fields, room, .. } => match RowConverter::new(fields.clone()) {
                Ok(converter) => Self::Unique {
                    converter: Some(converter),
                    keys: Some(Keys::new(room.clone())),
                    repeated: 0,
                },
                Err(error) => Self::Failed(error.to_string()),
            },
            PlannedCheck::NotNull { .. } => Self::NotNull { failing: 0 },
            PlannedCheck::Freshness { .. } => Self::Freshness { newest: None },
            PlannedCheck::Condition(_) => Self::Condition { failing: 0, unknown: 0 },
        }
    }

    /// Evaluates the check on a batch.
    pub(crate) fn update(&mut self, planned: &PlannedCheck, batch: &RecordBatch) {
        if let Err(error) = self.look(planned, batch) {
            *self = Self::Failed(error.strip_backtrace());
        }
    }

    fn look(&mut self, planned: &PlannedCheck, batch: &RecordBatch) -> Result<(), DataFusionError> {
        match (self, planned) {
            (Self::Unique { converter: Some(converter), keys: keys @ Some(_), repeated }, planned) => {
                let PlannedCheck::Unique { columns, .. } = planned else { return Ok(()) };
                if !add_keys(converter, keys, repeated, columns, batch)? {
                    // Duplicates found so far remain valid; more are unknown.
                    *keys = None;
                }
            }
            (Self::NotNull { failing }, PlannedCheck::NotNull { columns }) => {
                *failing += nulls(columns, batch).map_or(0, |nulls| nulls.null_count() as u64);
            }
            (Self::Freshness { newest }, PlannedCheck::Freshness { column, as_time }) => {
                let times = cast(batch.column(*column), as_time)?;
                *newest = (*newest).max(max(times.as_primitive::<TimestampMicrosecondType>()));
            }
            (Self::Condition { failing, unknown }, PlannedCheck::Condition(condition)) => {
                let met: ArrayRef = condition.evaluate(batch)?.into_array(batch.num_rows())?;
                let Some(met) = met.as_any().downcast_ref::<BooleanArray>() else {
                    // The literal NULL.
                    *unknown += batch.num_rows() as u64;
                    return Ok(());
                };
                *failing += met.false_count() as u64;
                *unknown += met.null_count() as u64;
            }
            _ => {}
        }
        Ok(())
    }

    /// Merges the state of another partition.
    pub(crate) fn merge(&mut self, other: Self) {
        match (self, other) {
            (Self::Failed(_), _) => {}
            (this, failed @ Self::Failed(_)) => *this = failed,
            (
                Self::Unique { keys, repeated, .. },
                Self::Unique { keys: other_keys, repeated: other_repeated, .. },
            ) => {
                *repeated += other_repeated;
                match (keys.as_mut(), other_keys) {
                    (Some(keys), Some(other)) => *repeated += keys.merge(other),
                    _ => *keys = None,
                }
            }
            (Self::NotNull { failing }, Self::NotNull { failing: other }) => *failing += other,
            (Self::Freshness { newest }, Self::Freshness { newest: other }) => *newest = (*newest).max(other),
            (
                Self::Condition { failing, unknown },
                Self::Condition { failing: other_failing, unknown: other_unknown },
            ) => {
                *failing += other_failing;
                *unknown += other_unknown;
            }
            _ => {}
        }
    }
}

/// The rows in which any of the columns is null.
fn nulls(columns: &[usize], batch: &RecordBatch) -> Option<NullBuffer> {
    // Logical nulls: those of a dictionary are in its values.
    let nulls = columns.iter().map(|column| batch.column(*column).logical_nulls());
    nulls.reduce(|a, b| NullBuffer::union(a.as_ref(), b.as_ref())).flatten()
}

/// The column with -0.0 replaced by 0.0: they are equal for `DISTINCT` and `GROUP BY`, but different as keys.
fn with_one_zero(column: &ArrayRef) -> ArrayRef {
    match column.data_type() {
        DataType::Float32 => {
            Arc::new(column.as_primitive::<Float32Type>().unary::<_, Float32Type>(|value| value + 0.0))
        }
        DataType::Float64 => {
            Arc::new(column.as_primitive::<Float64Type>().unary::<_, Float64Type>(|value| value + 0.0))
        }
        _ => Arc::clone(column),
    }
}

/// Returns false if there is no room for all of them.
fn add_keys(
    converter: &RowConverter,
    keys: &mut Option<Keys>,
    repeated: &mut u64,
    columns: &[usize],
    batch: &RecordBatch,
) -> Result<bool, ArrowError> {
    let Some(keys) = keys else { return Ok(false) };
    let values: Vec<ArrayRef> = columns.iter().map(|column| with_one_zero(batch.column(*column))).collect();
    let rows = converter.convert_columns(&values)?;
    let nulls = nulls(columns, batch);
    for (index, row) in rows.iter().enumerate() {
        // Null is not equal to null, as in SQL's unique constraints.
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(index)) {
            continue;
        }
        match keys.add(row.data()) {
            Added::New => {}
            Added::Known => *repeated += 1,
            Added::Full => return Ok(false),
        }
    }
    Ok(true)
}
