//! The values of partition folders in paths: `sales/day=2024-01-02/x.csv`.

use std::borrow::Cow;

use crate::rewritten::resumed;

/// The text with the value of every partition folder replaced by `?`: `sales/day=2024-01-02/x.csv` becomes `sales/day=?/x.csv`. A
/// folder is recognised by the slash before its name or after its value.
pub(crate) fn without_partition_values(text: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut written = 0;
    for (equals, _) in text.match_indices('=') {
        let start = equals + 1;
        if start <= written {
            continue;
        }
        let value = &text[start..];
        let name_length = text[..equals].bytes().rev().take_while(|byte| is_name_byte(*byte)).count();
        let name = &text[equals - name_length..equals];
        let is_below_a_folder = text[..equals - name_length].ends_with(SLASHES);
        let length = folder_length(value, is_below_a_folder);
        let is_folder = is_below_a_folder || value[length..].starts_with(SLASHES) && !is_name_of_path(name);
        if !name.is_empty() && is_folder && length > 0 {
            out.push_str(&text[written..start]);
            out.push('?');
            written = start + length;
        }
    }
    resumed(text, written, out)
}

/// The path with the value of every partition folder replaced by `?`, and also that of a file named like a partition.
pub(crate) fn path_without_values(path: &str) -> String {
    let parts = path.split_inclusive(SLASHES).map(|part| {
        let name = part.trim_end_matches(SLASHES);
        match name.split_once('=') {
            Some((column, _)) => format!("{column}=?{}", &part[name.len()..]),
            None => part.to_owned(),
        }
    });
    parts.collect()
}

const SLASHES: [char; 2] = ['/', '\\'];

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'%' | b'.') || !byte.is_ascii()
}

/// Names whose value is a path, such as `output_url`.
fn is_name_of_path(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["dir", "file", "folder", "location", "path", "uri", "url"].iter().any(|word| name.ends_with(word))
}

/// The length of a folder's name. A name with spaces is recognised only by the slash after it.
fn folder_length(value: &str, may_have_blanks: bool) -> usize {
    let is_end = |c: char| SLASHES.contains(&c) || "\n\"'`=,;()[]{}<>".contains(c);
    let end = value.find(is_end).unwrap_or(value.len());
    if may_have_blanks && value[end..].starts_with(SLASHES) {
        return end;
    }
    value[..end].find(char::is_whitespace).unwrap_or(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(found: impl AsRef<str>, expected: &str) {
        assert_eq!(found.as_ref(), expected);
    }

    #[track_caller]
    fn check_path(path: &str, expected: &str) {
        check(path_without_values(path), expected);
        check(without_partition_values(path), expected);
        check(without_partition_values(expected), expected);
    }

    #[test]
    fn partition_folders_lose_their_values() {
        check_path("s3://b/sales/customer=Ann/day=2024-01-02/x.csv", "s3://b/sales/customer=?/day=?/x.csv");
        check_path("/data/customer=Ann Lee/x.csv", "/data/customer=?/x.csv");
        check_path("customer=Ann/", "customer=?/");
        check_path("C:\\data\\Größe=XL", "C:\\data\\Größe=?");
        check_path("out/x.csv", "out/x.csv");
        check(path_without_values("customer=Ann Lee"), "customer=?");
    }

    #[test]
    fn paths_in_texts_lose_them_too() {
        let of = without_partition_values;
        check(
            of("file_groups={1 group: [[tmp/a=1/f.csv], [b=2/g.csv]]}"),
            "file_groups={1 group: [[tmp/a=?/f.csv], [b=?/g.csv]]}",
        );
        check(
            of("CopyTo: output_url=out/a=Ann/ options: (x=1)"),
            "CopyTo: output_url=out/a=?/ options: (x=1)",
        );
        check(of("Object at location /x/a=Ann not found"), "Object at location /x/a=? not found");
        check(of("a = b, c=d AND e=f"), "a = b, c=d AND e=f");
        check(of("https://host/x?a=b&c=d"), "https://host/x?a=b&c=d");
        check(of("=/ /= a=/"), "=/ /= a=/");
    }
}
