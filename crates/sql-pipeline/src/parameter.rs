//! A parameter of a script: its declaration, and its value.

use datafusion::{arrow::datatypes::DataType, common::ScalarValue, error::DataFusionError};

use crate::{
    literals::LiteralValue,
    parameter_type::{ParameterType, is_null},
};

/// The default value of a parameter, declared by `-- param: name = value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParameterDeclaration {
    /// The name, without `$`.
    pub name: String,
    /// The value, without quotes.
    pub default: String,
    /// Whether the value was quoted, so that it is a text whatever it looks like.
    pub quoted: bool,
    /// The comment directly above.
    pub documentation: Option<String>,
    /// The line, starting at 1.
    pub line: usize,
    /// The column of the directive, starting at 1.
    pub column: usize,
    /// The file of the script that contains it.
    pub(crate) file: usize,
}

impl ParameterDeclaration {
    /// The type of the default. A quoted default is a text whatever it looks like.
    pub fn kind(&self) -> ParameterType {
        match self.quoted {
            true => ParameterType::Text,
            false if is_null(&self.default) => ParameterType::Null,
            false => ParameterType::of(&self.default),
        }
    }

    /// The type of a value that replaces the default.
    fn kind_of(&self, given: &str) -> ParameterType {
        match self.kind() {
            // The text of four letters can be a name, and is neither a date nor a number.
            ParameterType::Text => ParameterType::Text,
            _ if is_null(given) => ParameterType::Null,
            // A default of null accepts any type.
            ParameterType::Null => ParameterType::of(given),
            declared => declared,
        }
    }
}

/// A parameter that the script reads, with its value.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Parameter {
    /// The name, without `$`.
    pub name: String,
    /// The given or declared value.
    pub text: String,
    /// The type of the declared default; without a declaration, or if the default is `null`, the apparent type of the value.
    pub kind: ParameterType,
    /// Where the script declares the default.
    pub declaration: Option<ParameterDeclaration>,
    value: ScalarValue,
}

impl Parameter {
    /// The parameter with its given or declared value. `None` if a given value does not have the declared type.
    pub(crate) fn new(
        name: &str,
        given: Option<&str>,
        declaration: Option<&ParameterDeclaration>,
    ) -> Option<Self> {
        let kind = match (declaration, given) {
            // The declaration decides, so that `--param day=5` for a date is rejected instead of becoming a number.
            (Some(declared), Some(given)) => declared.kind_of(given),
            (Some(declared), None) => declared.kind(),
            (None, given) => ParameterType::of(given?),
        };
        let text = given.or(declaration.map(|declared| declared.default.as_str()))?;
        let value = kind.parse(text)?;
        Some(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            kind,
            declaration: declaration.cloned(),
            value,
        })
    }

    /// The name of the parameter's node: `$name`, which is not a valid table name.
    pub fn node_name(&self) -> String {
        format!("${}", self.name)
    }

    /// The value as a literal.
    pub(crate) fn literal(&self) -> LiteralValue {
        LiteralValue { kind: self.kind, text: self.text.clone() }
    }

    /// The value for a place that expects `wanted`, such as a decimal although the text looks like a float.
    pub(crate) fn value_for(&self, wanted: Option<&DataType>) -> Result<ScalarValue, DataFusionError> {
        let Some(wanted) = wanted else { return Ok(self.value.clone()) };
        if self.kind == ParameterType::Null {
            return ScalarValue::try_new_null(wanted);
        }
        // From its text instead of its value: a decimal with many digits would lose some when converted through a float.
        match ScalarValue::try_from_string(self.text.clone(), wanted) {
            Ok(value) => Ok(value),
            // `quantity > 1.5` is fine if quantity is an integer: DataFusion then compares floats.
            Err(_) if self.kind == ParameterType::Float && wanted.is_numeric() => Ok(self.value.clone()),
            Err(error) => Err(error.context(format!(
                "the value {:?} of the parameter `{}` is not of the type {wanted}",
                self.text, self.name
            ))),
        }
    }
}
