//! The program and the libraries that are loaded into this process, as mapped in memory.

use std::{fs, mem};

use object::{
    NativeEndian, elf, pod,
    read::elf::{FileHeader as _, ProgramHeader as _},
};

use super::memory::Memory;

type Header = elf::FileHeader64<NativeEndian>;
type Segment = elf::ProgramHeader64<NativeEndian>;

/// The maximum number of segments of an object; linkers create about a dozen.
const MOST_SEGMENTS: usize = 64;

/// The program, or a library.
#[derive(Debug)]
pub(super) struct Object {
    /// The path of its file, according to the system.
    pub(super) path: String,
    /// The device and inode number of its file.
    pub(super) file: (String, u64),
    /// The difference between its addresses in memory and in its file.
    pub(super) bias: u64,
    /// The address of the index of its unwind information.
    pub(super) unwind_index: Option<u64>,
    /// The ranges of addresses with code.
    code: Vec<(u64, u64)>,
}

impl Object {
    fn has_code_at(&self, address: u64) -> bool {
        self.code.iter().any(|(from, until)| (*from..*until).contains(&address))
    }

    /// The name of its file, without its folder.
    pub(super) fn name(&self) -> &str {
        let path = self.path.strip_suffix(DELETED).unwrap_or(&self.path);
        path.rsplit('/').next().unwrap_or(path)
    }
}

/// The object that contains the code at an address.
pub(super) fn object_at(objects: &[Object], address: u64) -> Option<&Object> {
    objects.iter().find(|object| object.has_code_at(address))
}

/// The suffix that the system appends to the path of a deleted file.
const DELETED: &str = " (deleted)";

/// The currently loaded objects.
pub(super) fn loaded(memory: &Memory) -> Vec<Object> {
    let Ok(maps) = fs::read_to_string("/proc/self/maps") else { return Vec::new() };
    let mut objects: Vec<Object> = Vec::new();
    for mapping in maps.lines().filter_map(Mapping::of) {
        if mapping.offset == 0
            && let Some(object) = Object::at(&mapping, memory)
        {
            objects.push(object);
        }
        // The segments of an object are adjacent.
        let object =
            objects.last_mut().filter(|object| object.file == mapping.file && object.path == mapping.path);
        if let Some(object) = object.filter(|_| mapping.is_code) {
            object.code.push((mapping.from, mapping.until));
        }
    }
    objects.retain(|object| !object.code.is_empty());
    objects
}

/// A line of the list of mappings.
struct Mapping {
    from: u64,
    until: u64,
    is_code: bool,
    offset: u64,
    file: (String, u64),
    path: String,
}

impl Mapping {
    /// `7f00-8000 r-xp 0001 fe:00 4711   /usr/lib/libc.so.6`
    fn of(line: &str) -> Option<Self> {
        let mut fields = line.splitn(6, ' ');
        let (from, until) = fields.next()?.split_once('-')?;
        let rights = fields.next()?;
        let offset = u64::from_str_radix(fields.next()?, 16).ok()?;
        let device = fields.next()?.to_owned();
        let number = fields.next()?.parse().ok()?;
        Some(Self {
            from: u64::from_str_radix(from, 16).ok()?,
            until: u64::from_str_radix(until, 16).ok()?,
            is_code: rights.contains('x'),
            offset,
            file: (device, number),
            path: fields.next().unwrap_or_default().trim_start().to_owned(),
        })
    }
}

impl Object {
    /// The object that begins with a mapping. `None` if it is something else.
    fn at(mapping: &Mapping, memory: &Memory) -> Option<Self> {
        let bytes = memory.bytes(mapping.from, mem::size_of::<Header>())?;
        let (header, _) = pod::from_bytes::<Header>(&bytes).ok()?;
        if !header.is_supported() {
            return None;
        }
        let endian = NativeEndian;
        let count = usize::from(header.e_phnum.get(endian)).min(MOST_SEGMENTS);
        let at = mapping.from.checked_add(header.e_phoff.get(endian))?;
        let bytes = memory.bytes(at, count * mem::size_of::<Segment>())?;
        let (segments, _) = pod::slice_from_bytes::<Segment>(&bytes, count).ok()?;
        let first = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_LOAD)?;
        // A mapping begins at a page boundary, which the address in the file may not do.
        let bias = mapping.from.wrapping_sub(first.p_vaddr(endian).wrapping_sub(first.p_offset(endian)));
        let index = segments.iter().find(|segment| segment.p_type(endian) == elf::PT_GNU_EH_FRAME);
        Some(Self {
            path: mapping.path.clone(),
            file: mapping.file.clone(),
            bias,
            unwind_index: index.map(|segment| bias.wrapping_add(segment.p_vaddr(endian))),
            code: Vec::new(),
        })
    }
}
