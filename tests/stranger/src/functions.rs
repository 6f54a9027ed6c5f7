//! Functions of the program: one that works, and those that end a query in other ways.

use std::sync::Arc;

use datafusion::{
    arrow::{
        array::{ArrayRef, AsArray as _, Int64Array},
        compute::cast,
        datatypes::{DataType, Int64Type},
        error::ArrowError,
    },
    error::{DataFusionError, Result},
    logical_expr::{ColumnarValue, Volatility, create_udf},
    prelude::SessionContext,
};

use crate::trouble::Trouble;

/// Lets the session call them.
pub(crate) fn register_functions(ctx: &SessionContext) {
    let on_text = |name: &str, function: fn(&str) -> Result<()>| {
        let called = move |values: &[ColumnarValue]| {
            let texts = cast(&ColumnarValue::values_to_arrays(values)?[0], &DataType::Utf8)?;
            texts.as_string::<i32>().iter().flatten().try_for_each(function)?;
            Ok(ColumnarValue::Array(texts))
        };
        let types = vec![DataType::Utf8];
        ctx.register_udf(create_udf(name, types, DataType::Utf8, Volatility::Volatile, Arc::new(called)));
    };
    on_text("refuses", |text| Err(DataFusionError::Execution(format!("no place is called {text}"))));
    on_text("fails", |text| {
        let silent = Trouble::Silent(text.to_owned());
        Err(DataFusionError::External(Box::new(Trouble::Incomplete(Box::new(silent)))))
    });
    on_text("fails_in_arrow", |text| {
        Err(ArrowError::ExternalError(Box::new(Trouble::Silent(text.to_owned()))).into())
    });
    on_text("panics", panicking);
    let called = |values: &[ColumnarValue]| {
        let numbers = &ColumnarValue::values_to_arrays(values)?[0];
        let numbers: Int64Array = numbers.as_primitive::<Int64Type>().unary(|tenths| 2 * tenths);
        Ok(ColumnarValue::Array(Arc::new(numbers) as ArrayRef))
    };
    let types = vec![DataType::Int64];
    let doubled = create_udf("doubled", types, DataType::Int64, Volatility::Immutable, Arc::new(called));
    ctx.register_udf(doubled);
}

#[expect(clippy::panic, reason = "a function of a program may do this")]
fn panicking(text: &str) -> Result<()> {
    panic!("nobody expected {text}")
}
