//! What makes two queries the same, and their plans as texts.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeSet};

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use daglight_capture_policy::{Types, without_typed_literals};
use daglight_run_bundle::hexadecimal;
use datafusion::{
    DATAFUSION_VERSION,
    common::{
        Result, ScalarValue,
        tree_node::{Transformed, TreeNode as _, TreeNodeRecursion},
    },
    datasource::{listing::ListingTable, source_as_provider},
    logical_expr::{Expr, LogicalPlan},
};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Hashes of a query's plans: SHA-256, the first 16 hexadecimal characters.
///
/// The major version of DataFusion goes into each, because the texts they are made from are not a stable format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprints {
    /// What is asked: the unoptimised logical plan with literals left out. The same for other parameters, partitions, data
    /// and directories.
    pub logical_hash: String,
    /// As `logical_hash`, with the literals.
    pub literal_hash: String,
    /// How it is done: the operators of the physical plan with their expressions, without literals, partitions and files.
    /// Differs when the optimiser chose another plan.
    pub plan_hash: String,
}

impl Fingerprints {
    pub(crate) fn new(texts: &PlanTexts, shape: &str) -> Self {
        Self {
            logical_hash: texts.logical_hash.clone(),
            literal_hash: texts.literal_hash.clone(),
            plan_hash: hash(&lasting(shape, &texts.places)),
        }
    }

    /// Those of a query without a physical plan: what is asked is all that makes it the same as another.
    pub(crate) fn without_plan(texts: &PlanTexts) -> Self {
        Self {
            logical_hash: texts.logical_hash.clone(),
            literal_hash: texts.literal_hash.clone(),
            plan_hash: texts.logical_hash.clone(),
        }
    }
}

/// The plans of a query as texts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlanTexts {
    /// The unoptimised logical plan, indented.
    pub logical: String,
    /// The same with every literal replaced by a `NULL` of its type or by `?`.
    pub logical_without_literals: String,
    logical_hash: String,
    literal_hash: String,
    /// Where its files are, as it names them.
    places: BTreeSet<String>,
}

impl PlanTexts {
    /// `logical` is the plan as text.
    pub(crate) fn of(plan: &LogicalPlan, logical: String) -> Self {
        let Stripped { text, values, places } = Stripped::of(plan);
        Self {
            literal_hash: hash(&logical),
            logical,
            logical_hash: hash(&lasting(&text, &places)),
            logical_without_literals: without_values(text, &values),
            places,
        }
    }
}

fn hash(text: &str) -> String {
    // The display of a plan is not a stable format. Another major version may write another text for the same plan,
    // which must not look like a plan that has changed.
    let major = DATAFUSION_VERSION.split('.').next().unwrap_or_default();
    let digest = Sha256::new().chain_update(format!("datafusion {major}\n")).chain_update(text).finalize();
    // Eight bytes of the digest are enough for names of files that people read and type: among a million plans the
    // odds of two alike are 1 to 37 million.
    hexadecimal(&digest[..8])
}

/// The indented plan without its literals.
pub(crate) fn without_literals(plan: &LogicalPlan) -> String {
    let Stripped { text, values, .. } = Stripped::of(plan);
    without_values(text, &values)
}

/// An indented plan with a null in the place of each literal.
struct Stripped {
    text: String,
    /// The literals.
    values: BTreeSet<String>,
    /// The tables that are called by the place of their files, and the places that are written to.
    places: BTreeSet<String>,
}

impl Stripped {
    fn of(plan: &LogicalPlan) -> Self {
        let (mut values, mut places) = (BTreeSet::new(), BTreeSet::new());
        let stripped = plan.clone().transform_down_with_subqueries(|node| {
            places.extend(place(&node));
            node.map_expressions(|expression| expression.transform(|part| without_value(part, &mut values)))
                .map(|mapped| Transformed::new(mapped.data, mapped.transformed, TreeNodeRecursion::Continue))
        });
        let text = stripped
            .map_or_else(|_| "plan".to_owned(), |stripped| stripped.data.display_indent().to_string());
        // Decimal types have always been cut out of the text that is hashed.
        let text = without_typed_literals(&text, Types::Cut).into_owned();
        Self { text, values, places }
    }
}

/// A null of the same type and not a placeholder: the types of the expressions around it stay what they are, and with them the
/// plan's schema.
fn without_value(expression: Expr, values: &mut BTreeSet<String>) -> Result<Transformed<Expr>> {
    match expression {
        Expr::Literal(value, metadata) => {
            let Ok(null) = ScalarValue::try_new_null(&value.data_type()) else {
                return Ok(Transformed::no(Expr::Literal(value, metadata)));
            };
            values.insert(value.to_string());
            Ok(Transformed::yes(Expr::Literal(null, metadata)))
        }
        // How many values a column is compared with is as much a value as they are.
        Expr::InList(mut list) if list.list.iter().all(|item| matches!(item, Expr::Literal(..))) => {
            values.extend(list.list.drain(1..).map(|item| match item {
                Expr::Literal(value, _) => value.to_string(),
                other => other.to_string(),
            }));
            Ok(Transformed::yes(Expr::InList(list)))
        }
        other => Ok(Transformed::no(other)),
    }
}

/// The place that a node of a plan reads as a table or writes.
fn place(node: &LogicalPlan) -> Option<String> {
    match node {
        LogicalPlan::Copy(copy) => Some(copy.output_url.clone()),
        LogicalPlan::TableScan(scan) => {
            let is_of_files = || {
                let provider = source_as_provider(&scan.source);
                provider.is_ok_and(|provider| provider.is::<ListingTable>())
            };
            let name = scan.table_name.table();
            (name.contains(['/', '.']) && is_of_files()).then(|| name.to_owned())
        }
        _ => None,
    }
}

/// A text as it is hashed: without what another machine, folder or window has in another way.
fn lasting(text: &str, places: &BTreeSet<String>) -> String {
    // Backwards: what begins like another one and is longer comes first.
    let text = places.iter().rev().fold(Cow::Borrowed(text), |text, place| match text.contains(&**place) {
        true => Cow::Owned(text.replace(&**place, "?")),
        false => text,
    });
    without_frame_bounds(&text)
}

/// `ROWS BETWEEN 3 PRECEDING` as `ROWS BETWEEN ? PRECEDING`: bounds of windows are not expressions, and stand in the names of their
/// columns as well.
fn without_frame_bounds(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(end) = [" PRECEDING", " FOLLOWING"].iter().filter_map(|word| rest.find(word)).min() {
        let before = &rest[..end];
        let start = ["BETWEEN ", "AND "]
            .iter()
            .filter_map(|word| Some(before.rfind(word)? + word.len()))
            .max()
            .filter(|start| before[*start..] != *"UNBOUNDED");
        match start {
            Some(start) => out.extend([&before[..start], "?"]),
            None => out.push_str(before),
        }
        let behind = end + " PRECEDING".len();
        out.push_str(&rest[end..behind]);
        rest = &rest[behind..];
    }
    out.push_str(rest);
    out
}

/// Names of columns that DataFusion makes of expressions have their values in them. Short ones are left, because `1` is a
/// part of too many names. Not in what is hashed: a table may be called `sales_2024`.
fn without_values(text: String, values: &BTreeSet<String>) -> String {
    without_texts(text, values.iter().filter(|value| value.chars().count() > 3))
}

/// The text with `?` in the place of each of the values. All are looked for at once, because a list of thousands in a
/// text that names them all would else be searched as often.
fn without_texts<'a>(text: String, values: impl Iterator<Item = &'a String>) -> String {
    let values: Vec<&str> = values.map(String::as_str).collect();
    if values.len() <= MOST_SEARCHED {
        return without_few_texts(text, &values);
    }
    // The other kinds search faster and take long to build, and this one is used once.
    let found = AhoCorasick::builder()
        .kind(Some(AhoCorasickKind::NoncontiguousNFA))
        .match_kind(MatchKind::LeftmostLongest)
        .build(&values);
    match found {
        Ok(found) => found.replace_all(&text, &vec!["?"; values.len()]),
        // More values than the automaton can number.
        Err(_) => values.iter().fold(text, |text, value| text.replace(value, "?")),
    }
}

/// Of so many values each is looked for by itself: an automaton takes longer to build than such a search takes.
const MOST_SEARCHED: usize = 12;

/// As [`without_texts`]: what begins first is replaced, and of those that begin at one place the longest.
fn without_few_texts(text: String, values: &[&str]) -> String {
    // The next place of each; those behind which there is none are left out.
    let place = |value: &str, from: usize| text[from..].find(value).map(|at| from + at);
    let mut next: Vec<(usize, &str)> =
        values.iter().filter_map(|value| Some((place(value, 0)?, *value))).collect();
    let mut out = String::new();
    let mut written = 0;
    while let Some((start, value)) =
        next.iter().copied().min_by_key(|(at, value)| (*at, Reverse(value.len())))
    {
        out.push_str(&text[written..start]);
        out.push('?');
        written = start + value.len();
        next.retain_mut(|(at, value)| {
            // Only those that stand in what was replaced are looked for again.
            *at >= written || place(value, written).inspect(|found| *at = *found).is_some()
        });
    }
    if written == 0 {
        return text;
    }
    out.push_str(&text[written..]);
    out
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::{
        array::{
            Array as _, ArrayRef, FixedSizeListArray, LargeListArray, LargeListViewArray, ListViewArray,
            MapArray, StringArray, StructArray,
        },
        buffer::OffsetBuffer,
        datatypes::{
            ArrowPrimitiveType, DataType, Field, Float16Type, IntervalDayTime, IntervalMonthDayNano,
            UnionFields, UnionMode,
        },
    };

    use super::*;

    const MARKER: &str = "zqmk";

    /// A literal of each variant, with the marker in it where one can hold a text. A new variant does not compile here
    /// before it is named.
    fn of_each_variant() -> Vec<ScalarValue> {
        use ScalarValue as S;
        let text = || S::Utf8(Some(MARKER.to_owned()));
        let texts = || S::new_list(&[text()], &DataType::Utf8, true);
        let zone = || Some(Arc::<str>::from(MARKER));
        let fields = UnionFields::try_new([0], [Field::new("a", DataType::Utf8, true)]).unwrap();
        let strings: ArrayRef = Arc::new(StringArray::from(vec![MARKER]));
        let keys = Arc::new(Field::new("a", DataType::Utf8, true));
        let entries = StructArray::from(vec![
            (Arc::new(Field::new("keys", DataType::Utf8, false)), Arc::clone(&strings)),
            (Arc::new(Field::new("values", DataType::Utf8, true)), Arc::clone(&strings)),
        ]);
        let map = MapArray::new(
            Arc::new(Field::new("entries", entries.data_type().clone(), false)),
            OffsetBuffer::from_lengths([1]),
            entries.clone(),
            None,
            false,
        );
        let sized = FixedSizeListArray::new(Arc::clone(&keys), 1, Arc::clone(&strings), None);
        let views =
            ListViewArray::new(Arc::clone(&keys), vec![0].into(), vec![1].into(), Arc::clone(&strings), None);
        let large_views = LargeListViewArray::new(
            Arc::clone(&keys),
            vec![0].into(),
            vec![1].into(),
            Arc::clone(&strings),
            None,
        );
        let large = LargeListArray::new(Arc::clone(&keys), OffsetBuffer::from_lengths([1]), strings, None);
        vec![
            S::Null,
            S::Boolean(Some(true)),
            S::Float16(Some(half(86_421.0))),
            S::Float32(Some(86_421.0)),
            S::Float64(Some(86_421.0)),
            S::Decimal32(Some(86_421), 9, 2),
            S::Decimal64(Some(86_421), 9, 2),
            S::Decimal128(Some(86_421), 9, 2),
            S::Decimal256(Some(86_421.into()), 9, 2),
            S::Int8(Some(86)),
            S::Int16(Some(8_642)),
            S::Int32(Some(86_421)),
            S::Int64(Some(86_421)),
            S::UInt8(Some(86)),
            S::UInt16(Some(8_642)),
            S::UInt32(Some(86_421)),
            S::UInt64(Some(86_421)),
            text(),
            S::Utf8View(Some(MARKER.to_owned())),
            S::LargeUtf8(Some(MARKER.to_owned())),
            S::Binary(Some(MARKER.into())),
            S::BinaryView(Some(MARKER.into())),
            S::FixedSizeBinary(4, Some(MARKER.into())),
            S::LargeBinary(Some(MARKER.into())),
            S::FixedSizeList(Arc::new(sized)),
            S::List(texts()),
            S::LargeList(Arc::new(large)),
            S::ListView(Arc::new(views)),
            S::LargeListView(Arc::new(large_views)),
            S::Struct(Arc::new(entries)),
            S::Map(Arc::new(map)),
            S::Date32(Some(8_642)),
            S::Date64(Some(86_421_000_000)),
            S::Time32Second(Some(8_642)),
            S::Time32Millisecond(Some(86_421)),
            S::Time64Microsecond(Some(86_421)),
            S::Time64Nanosecond(Some(86_421)),
            S::TimestampSecond(Some(86_421), None),
            S::TimestampMillisecond(Some(86_421), Some("+02:00".into())),
            S::TimestampMicrosecond(None, zone()),
            S::TimestampNanosecond(None, zone()),
            S::IntervalYearMonth(Some(8_642)),
            S::IntervalDayTime(Some(IntervalDayTime::new(86, 421))),
            S::IntervalMonthDayNano(Some(IntervalMonthDayNano::new(86, 42, 1))),
            S::DurationSecond(Some(86_421)),
            S::DurationMillisecond(Some(86_421)),
            S::DurationMicrosecond(Some(86_421)),
            S::DurationNanosecond(Some(86_421)),
            S::Union(Some((0, Box::new(text()))), fields, UnionMode::Sparse),
            S::Dictionary(Box::new(DataType::Int32), Box::new(text())),
            S::RunEndEncoded(
                Arc::new(Field::new("run_ends", DataType::Int32, false)),
                keys,
                Box::new(text()),
            ),
        ]
    }

    fn half(number: f32) -> <Float16Type as ArrowPrimitiveType>::Native {
        <Float16Type as ArrowPrimitiveType>::Native::from_f32(number)
    }

    /// The place of a variant in the enum, so that the compiler names one that is missing.
    fn variant(value: &ScalarValue) -> usize {
        macro_rules! numbered {
            ($($variant:ident)+) => {{
                let names = [$(stringify!($variant)),+];
                let name = match value { $(ScalarValue::$variant { .. } => stringify!($variant),)+ };
                names.iter().position(|known| *known == name).unwrap()
            }};
        }
        numbered!(
            Null Boolean Float16 Float32 Float64 Decimal32 Decimal64 Decimal128 Decimal256 Int8 Int16 Int32 Int64
            UInt8 UInt16 UInt32 UInt64 Utf8 Utf8View LargeUtf8 Binary BinaryView FixedSizeBinary LargeBinary
            FixedSizeList List LargeList ListView LargeListView Struct Map Date32 Date64 Time32Second
            Time32Millisecond Time64Microsecond Time64Nanosecond TimestampSecond TimestampMillisecond
            TimestampMicrosecond TimestampNanosecond IntervalYearMonth IntervalDayTime IntervalMonthDayNano
            DurationSecond DurationMillisecond DurationMicrosecond DurationNanosecond Union Dictionary RunEndEncoded
        )
    }

    #[test]
    fn no_literal_of_any_variant_is_left_in_a_text() {
        let values = of_each_variant();
        for (place, value) in values.iter().enumerate() {
            assert_eq!(variant(value), place);
            for types in [Types::Cut, Types::Shown] {
                let literal = format!("a = {value:?} AND b");
                let shown = without_typed_literals(&literal, types);
                let has_value =
                    [MARKER, "86", "a717", "7A71", "122,113", "7a71"].iter().any(|part| shown.contains(part));
                assert!(!has_value, "{literal} became {shown}");
            }
        }
        assert_eq!(values.len(), 51);
    }

    #[test]
    fn few_values_are_replaced_as_many_are() {
        let many: Vec<String> = (0..MOST_SEARCHED).map(|number| format!("<{number}>")).collect();
        for (text, values, expected) in [
            ("a = 1995 AND b", vec!["1995"], "a = ? AND b"),
            ("abcdabcdef abcd", vec!["abcd", "abcdef"], "?? ?"),
            ("xabcdefx", vec!["bcde", "abcd", "efx"], "x??"),
            ("aaaaa", vec!["aaaa"], "?a"),
            ("größe größer", vec!["größe", "ößer"], "? ?r"),
            ("nothing", vec!["none"], "nothing"),
            ("nothing", vec![], "nothing"),
        ] {
            let values: Vec<String> = values.into_iter().map(str::to_owned).collect();
            assert_eq!(without_texts(text.to_owned(), values.iter()), expected, "{text}");
            assert_eq!(
                without_texts(text.to_owned(), values.iter().chain(&many)),
                expected,
                "{text}, among many"
            );
        }
    }

    #[test]
    fn types_that_are_written_as_literals_stay() {
        for data_type in
            ["Decimal128(10, 2)", "FixedSizeBinary(4)", "List(Utf8)", "Map(\"entries\": Struct(\"a\": Utf8))"]
        {
            assert_eq!(without_typed_literals(data_type, Types::Shown), data_type);
        }
    }
}
