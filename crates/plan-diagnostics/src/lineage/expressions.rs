//! Which source columns the value of an expression is made of.

use datafusion::{
    common::{
        Column,
        tree_node::{TreeNode as _, TreeNodeRecursion},
    },
    error::Result,
    logical_expr::{
        Case, Expr, SortExpr, Subquery, WindowFunctionDefinition,
        expr::{AggregateFunction, ScalarFunction, WindowFunction},
    },
};

use super::{
    model::{Derivation, Influence, Origins, Unresolved},
    relations::Walk,
    scope::{Scope, choose, merge},
};

impl Walk {
    /// The origins of an expression's value.
    pub(super) fn expression(&mut self, expression: &Expr, scope: &Scope<'_>) -> Origins {
        match expression {
            Expr::Alias(alias) => self.expression(&alias.expr, scope),
            Expr::Column(column) => self.column(column, scope.find(column)),
            Expr::OuterReferenceColumn(_, column) => self.column(column, scope.find_outside(column)),
            other => self.computed(other, scope),
        }
    }

    /// Takes in that an expression decides about rows.
    pub(super) fn decides(&mut self, expression: &Expr, influence: Influence, scope: &Scope<'_>) {
        let origins = self.expression(expression, scope);
        self.influenced(&origins, influence);
    }

    pub(super) fn sorts(&mut self, order: &[SortExpr], influence: Influence, scope: &Scope<'_>) {
        order.iter().for_each(|sort| self.decides(&sort.expr, influence, scope));
    }

    fn column(&mut self, column: &Column, found: Option<&Origins>) -> Origins {
        found.cloned().unwrap_or_else(|| {
            self.lineage.unresolved.insert(Unresolved::Column(column.flat_name()));
            Origins::new()
        })
    }

    /// The origins of a value that is computed from parts.
    fn computed(&mut self, expression: &Expr, scope: &Scope<'_>) -> Origins {
        let mut origins = Origins::new();
        // The walk of DataFusion's own guards the stack: a condition may have thousands of terms.
        let walked = expression.apply(|part| {
            let (found, least) = match part {
                Expr::Column(_) | Expr::OuterReferenceColumn(..) => {
                    (self.expression(part, scope), Derivation::Transformation)
                }
                Expr::AggregateFunction(function) => {
                    (self.aggregate(function, scope), Derivation::Aggregation)
                }
                Expr::WindowFunction(function) => self.window(function, scope),
                Expr::Case(case) => (self.case(case, scope), Derivation::Transformation),
                Expr::ScalarFunction(function) => match condition_of(function) {
                    Some(condition) => (self.choice(function, condition, scope), Derivation::Transformation),
                    None => return Ok(TreeNodeRecursion::Continue),
                },
                Expr::ScalarSubquery(subquery) => {
                    (self.subquery(subquery, scope), Derivation::Transformation)
                }
                // Whether there is a row is decided by the conditions inside.
                Expr::Exists(exists) => {
                    self.subquery(&exists.subquery, scope);
                    return Ok(TreeNodeRecursion::Jump);
                }
                Expr::InSubquery(within) => {
                    let subquery = self.subquery(&within.subquery, scope);
                    (self.with(&within.expr, &subquery, scope), Derivation::Transformation)
                }
                Expr::SetComparison(comparison) => {
                    let subquery = self.subquery(&comparison.subquery, scope);
                    (self.with(&comparison.expr, &subquery, scope), Derivation::Transformation)
                }
                _ => return Ok(TreeNodeRecursion::Continue),
            };
            merge(&mut origins, &found, least);
            Result::Ok(TreeNodeRecursion::Jump)
        });
        debug_assert!(walked.is_ok(), "the visitor returns no error");
        origins
    }

    fn with(&mut self, expression: &Expr, others: &Origins, scope: &Scope<'_>) -> Origins {
        let mut origins = self.expression(expression, scope);
        merge(&mut origins, others, Derivation::Transformation);
        origins
    }

    fn all(&mut self, expressions: &[Expr], scope: &Scope<'_>) -> Origins {
        let mut origins = Origins::new();
        for expression in expressions {
            merge(&mut origins, &self.expression(expression, scope), Derivation::Transformation);
        }
        origins
    }

    fn aggregate(&mut self, function: &AggregateFunction, scope: &Scope<'_>) -> Origins {
        let parameters = &function.params;
        if let Some(filter) = &parameters.filter {
            self.decides(filter, Influence::Filter, scope);
        }
        self.sorts(&parameters.order_by, Influence::Sort, scope);
        self.all(&parameters.args, scope)
    }

    fn window(&mut self, function: &WindowFunction, scope: &Scope<'_>) -> (Origins, Derivation) {
        let parameters = &function.params;
        for partition in &parameters.partition_by {
            self.decides(partition, Influence::Window, scope);
        }
        self.sorts(&parameters.order_by, Influence::Window, scope);
        if let Some(filter) = &parameters.filter {
            self.decides(filter, Influence::Filter, scope);
        }
        let derivation = match function.fun {
            WindowFunctionDefinition::AggregateUDF(_) => Derivation::Aggregation,
            WindowFunctionDefinition::WindowUDF(_) => Derivation::Transformation,
        };
        (self.all(&parameters.args, scope), derivation)
    }

    /// The value is that of a branch; the conditions decide which.
    fn case(&mut self, case: &Case, scope: &Scope<'_>) -> Origins {
        let mut origins = Origins::new();
        for condition in case.expr.iter().chain(case.when_then_expr.iter().map(|(when, _)| when)) {
            choose(&mut origins, &self.expression(condition, scope));
        }
        for branch in case.when_then_expr.iter().map(|(_, then)| then).chain(&case.else_expr) {
            merge(&mut origins, &self.expression(branch, scope), Derivation::Transformation);
        }
        origins
    }

    /// As [`Self::case`], written as a function of which one argument is the condition.
    fn choice(&mut self, function: &ScalarFunction, condition: usize, scope: &Scope<'_>) -> Origins {
        let mut origins = Origins::new();
        for (index, argument) in function.args.iter().enumerate() {
            let found = self.expression(argument, scope);
            match index == condition {
                true => choose(&mut origins, &found),
                false => merge(&mut origins, &found, Derivation::Transformation),
            }
        }
        origins
    }

    /// The origins of the one column that a subquery in an expression has.
    fn subquery(&mut self, subquery: &Subquery, scope: &Scope<'_>) -> Origins {
        self.relation(&subquery.subquery, Some(scope)).into_iter().next().unwrap_or_default()
    }
}

/// The place of the argument of a function that only decides which of the others is the value. The value of `coalesce` and `greatest`
/// may be that of each argument.
fn condition_of(function: &ScalarFunction) -> Option<usize> {
    match (function.name(), function.args.len()) {
        ("nullif", 2) => Some(1),
        ("nvl2" | "if", 3) => Some(0),
        _ => None,
    }
}
