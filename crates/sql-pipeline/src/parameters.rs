//! Inserting the values of parameters into plans.

use std::{
    collections::{BTreeMap, HashMap},
    ops::ControlFlow,
};

use datafusion::{
    common::{ParamValues, metadata::ScalarAndMetadata},
    error::DataFusionError,
    logical_expr::{DdlStatement, LogicalPlan},
    sql::{
        parser::Statement as ParsedStatement,
        sqlparser::ast::{Value, ValueWithSpan, VisitMut, VisitorMut},
    },
};

use crate::{parameter::Parameter, parameter_type::ParameterType, statement::Statement};

/// Replaces the placeholders of a plan, which was made from `statement`, with values.
pub(crate) fn bind(
    plan: LogicalPlan,
    statement: &Statement,
    parameters: &BTreeMap<String, Parameter>,
) -> Result<LogicalPlan, DataFusionError> {
    // If a parameter is compared with columns of two types, no single type is expected; then its own type is used.
    let wanted = plan.get_parameter_types().unwrap_or_default();
    let values = parameters
        .values()
        .map(|parameter| {
            let wanted = wanted.get(&parameter.node_name()).and_then(Option::as_ref);
            Ok((parameter.name.clone(), ScalarAndMetadata::from(parameter.value_for(wanted)?)))
        })
        .collect::<Result<HashMap<_, _>, DataFusionError>>()?;
    let mut plan = plan.with_param_values(ParamValues::Map(values))?;
    if let LogicalPlan::Ddl(DdlStatement::CreateView(view)) = &mut plan {
        // The plan of the view has the values, but its text, which the catalog shows, still had the names.
        view.definition = Some(with_literals(&statement.parse()?, parameters));
    }
    Ok(plan)
}

/// The SQL of a statement with the parameters' values inserted.
fn with_literals(parsed: &ParsedStatement, parameters: &BTreeMap<String, Parameter>) -> String {
    // A view is one of these. The others keep no text.
    let ParsedStatement::Statement(statement) = parsed else { return parsed.to_string() };
    let mut statement = statement.clone();
    let _: ControlFlow<()> = VisitMut::visit(&mut statement, &mut Literals(parameters));
    statement.to_string()
}

struct Literals<'a>(&'a BTreeMap<String, Parameter>);

impl VisitorMut for Literals<'_> {
    type Break = ();

    fn pre_visit_value(&mut self, value: &mut ValueWithSpan) -> ControlFlow<()> {
        if let Value::Placeholder(placeholder) = &value.value
            && let Some(parameter) = placeholder.strip_prefix('$').and_then(|name| self.0.get(name))
        {
            value.value = match parameter.kind {
                ParameterType::Integer | ParameterType::Float => Value::Number(parameter.text.clone(), false),
                ParameterType::Boolean => Value::Boolean(parameter.text.eq_ignore_ascii_case("true")),
                ParameterType::Null => Value::Null,
                ParameterType::Date | ParameterType::Text => {
                    Value::SingleQuotedString(parameter.text.clone())
                }
            };
        }
        ControlFlow::Continue(())
    }
}

#[cfg(test)]
mod tests {
    use datafusion::prelude::SessionContext;

    use super::*;
    use crate::script::Script;

    #[test]
    fn the_narrowest_type_is_taken() {
        for (text, expected) in [
            ("42", "integer"),
            ("-7", "integer"),
            ("0.05", "float"),
            ("1e3", "float"),
            ("nan", "text"),
            ("inf", "text"),
            ("true", "boolean"),
            ("1995-01-01", "date"),
            ("1995-13-01", "text"),
            ("0", "integer"),
            ("0.5", "float"),
            ("-0.05", "float"),
            ("1.50", "float"),
            ("9223372036854775807", "integer"),
            // A postal code, an account number and a telephone number are not quantities.
            ("01234", "text"),
            ("007.5", "text"),
            ("-01", "text"),
            ("+49301234", "text"),
            ("12345678901234567890", "text"),
            ("0.12345678901234567", "text"),
            ("null", "text"),
            ("", "text"),
            ("ASIA", "text"),
        ] {
            assert_eq!(ParameterType::of(text).name(), expected, "{text}");
        }
    }

    /// Runs a script with parameters and formats the rows of its last statement.
    async fn rows(sql: &str, given: &[(&str, &str)]) -> String {
        let script = Script::parse("a.sql", sql).unwrap();
        let parameters = given
            .iter()
            .map(|(name, text)| ((*name).to_owned(), Parameter::new(name, Some(text), None).unwrap()))
            .collect();
        let ctx = SessionContext::new_with_config(
            datafusion::prelude::SessionConfig::new().with_information_schema(true),
        );
        let mut batches = Vec::new();
        for statement in script.statements() {
            let plan = ctx.state().statement_to_plan(statement.parse().unwrap()).await.unwrap();
            let plan = match statement.placeholders.is_empty() {
                true => plan,
                false => bind(plan, statement, &parameters).unwrap(),
            };
            batches = ctx.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
        }
        datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
    }

    #[track_caller]
    fn check(rows: &str, expected: &[&str]) {
        let found: Vec<&str> = rows
            .lines()
            .skip(3)
            .filter(|line| !line.starts_with('+'))
            .map(|line| line.trim_matches(['|', ' ']))
            .collect();
        assert_eq!(found, expected, "{rows}");
    }

    #[tokio::test]
    async fn values_take_the_type_that_the_plan_wants() {
        let table = "CREATE TABLE t AS SELECT DATE '1995-06-17' AS d, 1.50::DECIMAL(15,2) AS p, 3 AS n;";
        let sql = format!("{table} SELECT n FROM t WHERE d >= $day AND p = $p LIMIT $most");
        check(&rows(&sql, &[("day", "1995-01-01"), ("p", "1.50"), ("most", "5")]).await, &["3"]);
        let sql = format!("{table} SELECT n FROM t WHERE n > $x AND d < $x2");
        check(&rows(&sql, &[("x", "2.5"), ("x2", "2000-01-01")]).await, &["3"]);
    }

    #[tokio::test]
    async fn zeros_in_front_stay_where_nothing_asks_for_a_number() {
        check(&rows("SELECT $zip", &[("zip", "01234")]).await, &["01234"]);
        check(&rows("SELECT 7 = $n, 1 + $n", &[("n", "007")]).await, &["true          | 8"]);
        let sql = "CREATE TABLE t AS SELECT '01234' AS zip; SELECT zip FROM t WHERE zip = $zip";
        check(&rows(sql, &[("zip", "01234")]).await, &["01234"]);
    }

    #[tokio::test]
    async fn null_as_a_default_is_no_value() {
        let rows = async |sql: &str, given: Option<&str>| {
            let script = Script::parse("a.sql", sql).unwrap();
            let statement = script.statements().last().unwrap();
            let parameter = Parameter::new("n", given, script.declarations().first());
            let parameters = [("n".to_owned(), parameter.expect("the value is of the type"))].into();
            let ctx = SessionContext::new();
            let plan = ctx.state().statement_to_plan(statement.parse().unwrap()).await.unwrap();
            let plan = bind(plan, statement, &parameters).unwrap();
            let batches = ctx.execute_logical_plan(plan).await.unwrap().collect().await.unwrap();
            datafusion::arrow::util::pretty::pretty_format_batches(&batches).unwrap().to_string()
        };
        let sql = "-- param: n = null\n\nSELECT $n IS NULL, coalesce(1, $n), 2 = $n IS NULL";
        check(&rows(sql, None).await, &["true       | 1                     | true"]);
        check(&rows("-- param: n = NULL\n\nSELECT $n + 1", Some("5")).await, &["6"]);
        check(&rows("-- param: n = 3\n\nSELECT $n IS NULL", Some("null")).await, &["true"]);
        check(&rows("-- param: n = 'null'\n\nSELECT $n", None).await, &["null"]);
        check(&rows("-- param: n = ''\n\nSELECT $n", Some("null")).await, &["null"]);
    }

    #[tokio::test]
    async fn views_tables_and_inserts_take_parameters() {
        let sql = "CREATE VIEW v AS SELECT x FROM (VALUES (1), (2), (3)) AS a(x) WHERE x > $low;
                   CREATE TABLE t AS SELECT x, $who AS who FROM v; INSERT INTO t SELECT x * $low, $who FROM v;
                   SELECT * FROM t ORDER BY x";
        let found = rows(sql, &[("low", "2"), ("who", "me")]).await;
        check(&found, &["3 | me", "6 | me"]);
    }

    #[tokio::test]
    async fn the_definition_of_a_view_carries_the_values() {
        let sql = "CREATE VIEW v AS SELECT 1 AS x WHERE 1 > $low AND 'a' <> $who;
                   SELECT definition FROM information_schema.views WHERE table_name = 'v'";
        let found = rows(sql, &[("low", "0"), ("who", "it's")]).await;
        assert!(found.contains("1 > 0 AND 'a' <> 'it''s'"), "{found}");
    }

    #[tokio::test]
    async fn a_value_of_the_wrong_type_is_named() {
        let script = Script::parse("a.sql", "SELECT 1 WHERE DATE '1995-01-01' > $day").unwrap();
        let statement = &script.statements()[0];
        let plan = SessionContext::new().state().statement_to_plan(statement.parse().unwrap()).await.unwrap();
        let parameter = Parameter::new("day", Some("monday"), None).unwrap();
        let error = bind(plan, statement, &[("day".to_owned(), parameter)].into()).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("the value \"monday\" of the parameter `day` is not of the type Date32"),
            "{error}"
        );
    }
}
