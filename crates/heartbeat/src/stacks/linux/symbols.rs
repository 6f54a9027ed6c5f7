//! The names of functions, from the symbol tables of the loaded files.

use std::{
    fs::{self, File, Metadata},
    os::unix::fs::{FileExt as _, MetadataExt as _},
    time::Instant,
};

use object::{
    NativeEndian, elf, pod,
    read::{
        ReadCache,
        elf::{FileHeader as _, SectionHeader as _, Sym as _},
    },
};

use super::objects::Object;

type Header = elf::FileHeader64<NativeEndian>;
type Symbol = elf::Sym64<NativeEndian>;

/// A link to the program file.
const PROGRAM: &str = "/proc/self/exe";

/// How many symbols are read at a time: a table may have a million, and is not kept in memory.
const SYMBOLS_AT_A_TIME: usize = 4096;

/// The maximum length of a name in characters. Those of generic functions may have thousands.
const MOST_NAME_CHARS: usize = 240;

/// The maximum length of a mangled name in bytes.
const MOST_NAME_BYTES: usize = 4096;

/// The names of the functions at some addresses of an object, from its file; none after the deadline.
pub(super) fn names(object: &Object, addresses: &[u64], deadline: Instant) -> Vec<Option<String>> {
    let found = Tables::of(object).map(|tables| tables.find(addresses, deadline));
    found.unwrap_or_else(|| vec![None; addresses.len()])
}

/// The symbol tables of a file.
struct Tables {
    file: File,
    tables: Vec<Table>,
}

/// A symbol table, and the location of its names.
struct Table {
    symbols: (u64, u64),
    names: (u64, u64),
}

impl Tables {
    fn of(object: &Object) -> Option<Self> {
        let file = open(object)?;
        let tables = {
            let cache = ReadCache::new(&file);
            let header = Header::parse(&cache).ok()?;
            let endian = header.endian().ok()?;
            let sections = header.sections(endian, &cache).ok()?;
            let tables = sections
                .iter()
                .filter(|section| matches!(section.sh_type(endian), elf::SHT_SYMTAB | elf::SHT_DYNSYM));
            let place = |section: &elf::SectionHeader64<NativeEndian>| {
                Some((section.file_range(endian)?.0, section.file_range(endian)?.1))
            };
            tables
                .filter_map(|table| {
                    let names = sections.section(table.link(endian)).ok()?;
                    Some(Table { symbols: place(table)?, names: place(names)? })
                })
                .collect()
        };
        Some(Self { file, tables })
    }

    fn find(&self, addresses: &[u64], deadline: Instant) -> Vec<Option<String>> {
        let mut names = vec![None; addresses.len()];
        for table in &self.tables {
            for (position, name) in self.find_in(table, addresses, deadline) {
                names[position] = names[position].take().or_else(|| self.name(table, name));
            }
        }
        names
    }

    /// The positions of those addresses that belong to symbols of a table, and the offsets of the names.
    fn find_in(&self, table: &Table, addresses: &[u64], deadline: Instant) -> Vec<(usize, u32)> {
        let mut sorted: Vec<_> = addresses.iter().copied().zip(0..).collect();
        sorted.sort_unstable();
        let mut found = Vec::new();
        let size = size_of::<Symbol>();
        let mut bytes = vec![0; SYMBOLS_AT_A_TIME * size];
        let (mut at, end) = (table.symbols.0, table.symbols.0.saturating_add(table.symbols.1));
        while at < end && Instant::now() < deadline {
            let len = bytes.len().min(usize::try_from(end - at).unwrap_or(usize::MAX)) / size * size;
            if len == 0 || self.file.read_exact_at(&mut bytes[..len], at).is_err() {
                break;
            }
            at += len as u64;
            let Ok((symbols, _)) = pod::slice_from_bytes::<Symbol>(&bytes[..len], len / size) else { break };
            for symbol in symbols {
                let endian = NativeEndian;
                if symbol.st_type() != elf::STT_FUNC || symbol.st_size(endian) == 0 {
                    continue;
                }
                let (from, until) =
                    (symbol.st_value(endian), symbol.st_value(endian).saturating_add(symbol.st_size(endian)));
                let first = sorted.partition_point(|(address, _)| *address < from);
                let within = sorted[first..].iter().take_while(|(address, _)| *address < until);
                found.extend(within.map(|(_, position)| (*position, symbol.st_name(endian))));
            }
        }
        found
    }

    fn name(&self, table: &Table, offset: u32) -> Option<String> {
        let offset = u64::from(offset);
        let len = table.names.1.checked_sub(offset)?.min(MOST_NAME_BYTES as u64);
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        self.file.read_exact_at(&mut bytes, table.names.0.checked_add(offset)?).ok()?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        let name = std::str::from_utf8(&bytes[..end]).ok().filter(|name| !name.is_empty())?;
        Some(readable(name))
    }
}

/// The file of an object, if it is still the one that was loaded.
fn open(object: &Object) -> Option<File> {
    // The link refers to the program file even if that was removed or replaced.
    if fs::read_link(PROGRAM).is_ok_and(|program| program.to_str() == Some(&object.path)) {
        return File::open(PROGRAM).ok();
    }
    let is_same = |facts: Metadata| facts.is_file() && facts.ino() == object.file.1;
    fs::metadata(&object.path).is_ok_and(is_same).then(|| File::open(&object.path).ok())?
}

/// The demangled name, without the hash that makes it unique.
fn readable(name: &str) -> String {
    let name = format!("{:#}", rustc_demangle::demangle(name));
    match name.char_indices().nth(MOST_NAME_CHARS) {
        Some((end, _)) => format!("{}…", &name[..end]),
        None => name,
    }
}
