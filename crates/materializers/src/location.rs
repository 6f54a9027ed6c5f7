//! What the location of files says of their name.

const SLASHES: [char; 2] = ['/', '\\'];

/// The external name that files have by their location: that of the file or folder, without its ending.
pub fn name_of_files(location: &str) -> &str {
    let part = naming_part(location);
    part.split_once('.').map_or(part, |(name, _)| if name.is_empty() { part } else { name })
}

/// The part of a location that names what is there: the last one that is not a partition, because the `Ann` of
/// `sales/customer=Ann/` is a value, and names stand where values may not.
pub fn naming_part(location: &str) -> &str {
    let path = location.split_once("://").map_or(location, |(_, path)| path);
    let mut parts = path.split(SLASHES).rev().filter(|part| !part.is_empty());
    parts
        .clone()
        .find(|part| !part.contains('='))
        .or_else(|| parts.next()?.split('=').next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(location: &str, part: &str, name: &str) {
        assert_eq!((naming_part(location), name_of_files(location)), (part, name));
    }

    #[test]
    fn files_and_folders_name_what_is_there() {
        check("s3://b/out/Late-orders.parquet", "Late-orders.parquet", "Late-orders");
        check("out\\late.csv.gz", "late.csv.gz", "late");
        check("out/late//", "late", "late");
        check("out/.hidden", ".hidden", ".hidden");
        check("/", "", "");
    }

    #[test]
    fn values_of_partitions_name_nothing() {
        check("sales/customer=Ann/day=2024-01-02/", "sales", "sales");
        check("sales/customer=Ann.parquet", "sales", "sales");
        check("s3://b/customer=Ann", "b", "b");
        check("customer=Ann/", "customer", "customer");
    }
}
