//! The files of a crate, and which of them names what of which: read from their tokens, so that paths inside of macros count
//! too.
//!
//! A file is a module. What is for tests only is passed over, and a name is followed through imports and re-exports to the file that
//! defines it: `lib.rs` and other indexes are in nobody's way.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, anyhow};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// How many re-exports a name is followed through: more than one would write, few enough to end on a mistake.
const MOST_STEPS: usize = 16;

/// For each pair of files the names that the first uses of the second. Files are called by their path below `src`.
pub(crate) type Uses = BTreeMap<(String, String), BTreeSet<String>>;

/// Which file below the folder of `root`, the file of a crate's root, uses what of which other one.
///
/// What a part of a parent's type needs from that parent is left out: a file with an `impl` block of a type of a module above it is
/// that type, written in several files.
///
/// # Errors
/// When a file cannot be read or is not Rust.
pub(crate) fn uses(root: &Path) -> Result<Uses> {
    let mut modules = Modules { all: Vec::new() };
    let folder = root.parent().context("a file has a folder")?;
    modules.read(root, folder, folder, None)?;
    Ok(modules.uses())
}

/// A module in a separate file.
#[derive(Default)]
struct Module {
    path: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    contents: Contents,
}

/// What a file contains, besides its children.
#[derive(Default)]
struct Contents {
    /// The children, each with the files that its attributes name.
    declared: Vec<(String, Vec<String>)>,
    /// By the name that it has here.
    imports: BTreeMap<String, Vec<String>>,
    paths: Vec<Vec<String>>,
    /// The names outside of paths and imports: only a re-export that is used here too is a use.
    names: BTreeSet<String>,
    reexported: BTreeSet<String>,
    /// The types that have an `impl` block without a trait here.
    implemented: BTreeSet<String>,
}

struct Modules {
    all: Vec<Module>,
}

impl Modules {
    fn read(&mut self, file: &Path, below: &Path, source: &Path, parent: Option<usize>) -> Result<usize> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let tokens: TokenStream =
            text.parse().map_err(|error| anyhow!("{} is not Rust: {error}", file.display()))?;
        let mut contents = Contents::default();
        contents.read(tokens, 0);
        let declared = contents.declared.clone();
        let path = file.strip_prefix(source).unwrap_or(file).display().to_string();
        let index = self.all.len();
        self.all.push(Module { path, parent, children: BTreeMap::new(), contents });
        for (name, named) in declared {
            let mut files: Vec<PathBuf> = named.iter().map(|named| file.with_file_name(named)).collect();
            if files.is_empty() {
                files.push(file_of(below, &name));
            }
            for child in files {
                let child = self.read(&child, &below.join(&name), source, Some(index))?;
                self.all[index].children.insert(name.clone(), child);
            }
        }
        Ok(index)
    }

    fn uses(&self) -> Uses {
        let mut uses = Uses::new();
        for (index, module) in self.all.iter().enumerate() {
            let contents = &module.contents;
            let imported = contents
                .imports
                .iter()
                .filter(|(name, _)| !contents.reexported.contains(*name) || contents.names.contains(*name))
                .map(|(_, path)| path);
            for path in imported.chain(&contents.paths) {
                let Some((target, Some(name))) = self.resolve(index, path, MOST_STEPS) else { continue };
                if target != index && !self.is_part_of(index, target) {
                    uses.entry((module.path.clone(), self.all[target].path.clone()))
                        .or_default()
                        .insert(name);
                }
            }
        }
        uses
    }

    /// Whether a file is a part of a type that a module above it defines.
    fn is_part_of(&self, index: usize, above: usize) -> bool {
        let is_above = std::iter::successors(self.all[index].parent, |parent| self.all[*parent].parent)
            .any(|parent| parent == above);
        is_above
            && self.all[index].contents.implemented.iter().any(|name| {
                self.resolve(index, std::slice::from_ref(name), MOST_STEPS)
                    .is_some_and(|(file, _)| file == above)
            })
    }

    /// The file that defines what a path names, and the name that it has there: `None` for a module as a whole.
    fn resolve(&self, from: usize, path: &[String], steps: usize) -> Option<(usize, Option<String>)> {
        let (first, mut rest) = path.split_first()?;
        let mut module = match first.as_str() {
            "crate" => 0,
            "self" => from,
            "super" => self.all[from].parent?,
            // A name of this file, or one from elsewhere.
            _ => {
                let known = &self.all[from];
                if !known.children.contains_key(first) && !known.contents.imports.contains_key(first) {
                    return None;
                }
                rest = path;
                from
            }
        };
        while let Some((name, after)) = rest.split_first() {
            if name == "super" {
                module = self.all[module].parent?;
            } else if let Some(child) = self.all[module].children.get(name)
                // A function may be called as its module is.
                && !(after.is_empty() && self.all[module].contents.imports.contains_key(name))
            {
                module = *child;
            } else if name == "*" {
                return Some((module, Some("*".to_owned())));
            } else if let Some(import) = self.all[module].contents.imports.get(name) {
                let mut whole = import.clone();
                whole.extend_from_slice(after);
                return self.resolve(module, &whole, steps.checked_sub(1)?);
            } else {
                return Some((module, Some(name.clone())));
            }
            rest = after;
        }
        Some((module, None))
    }
}

/// The file of a module that is declared in a file whose children are below `folder`.
fn file_of(folder: &Path, name: &str) -> PathBuf {
    let beside = folder.join(format!("{name}.rs"));
    if beside.exists() { beside } else { folder.join(name).join("mod.rs") }
}

impl Contents {
    /// `depth` is how many modules inside of the file these tokens are in.
    fn read(&mut self, tokens: TokenStream, depth: usize) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, depth);
        }
    }

    /// Reads what begins at a token, and returns where the next begins.
    fn step(&mut self, tokens: &[TokenTree], at: usize, depth: usize) -> usize {
        if is_punct(tokens.get(at), '#')
            && let Some(TokenTree::Group(attribute)) = tokens.get(at + 1)
        {
            let is_of_tests = attribute.stream().to_string().replace(' ', "") == "cfg(test)";
            return if is_of_tests { end_of_item(tokens, at + 2) } else { at + 2 };
        }
        let name = match &tokens[at] {
            TokenTree::Group(group) => {
                self.read(group.stream(), depth);
                return at + 1;
            }
            TokenTree::Ident(ident) => ident.to_string(),
            TokenTree::Punct(_) | TokenTree::Literal(_) => return at + 1,
        };
        match name.as_str() {
            "use" if !is_punct(tokens.get(at + 1), '<') => {
                let end = end_at(tokens, at, ';');
                let is_public = is_public(&tokens[..at]);
                self.import(&tokens[at + 1..end], &[], depth, is_public);
                end + 1
            }
            "mod" => match (tokens.get(at + 1), tokens.get(at + 2)) {
                (Some(TokenTree::Ident(_)), Some(TokenTree::Group(body))) => {
                    self.read(body.stream(), depth + 1);
                    at + 3
                }
                (Some(TokenTree::Ident(name)), _) => {
                    self.declared.push((plain(&name.to_string()), named_files(&tokens[..at])));
                    at + 2
                }
                _ => at + 1,
            },
            "impl" => {
                self.implemented.extend(implemented(&tokens[at + 1..]));
                at + 1
            }
            _ => self.path(tokens, at, depth),
        }
    }

    /// Reads a path of two parts or more, or a single name.
    fn path(&mut self, tokens: &[TokenTree], at: usize, depth: usize) -> usize {
        let mut path = Vec::new();
        let mut next = at;
        while let Some(TokenTree::Ident(ident)) = tokens.get(next) {
            path.push(plain(&ident.to_string()));
            next += 1;
            let goes_on = is_punct(tokens.get(next), ':') && is_punct(tokens.get(next + 1), ':');
            if !goes_on || !matches!(tokens.get(next + 2), Some(TokenTree::Ident(_))) {
                break;
            }
            next += 2;
        }
        // The rest of a path that begins outside of this crate, as in `<T as Trait>::Item`, is not a whole path.
        self.names.extend(path.first().cloned());
        if path.len() > 1 {
            self.paths.extend(in_file(path, depth));
        }
        next
    }

    /// Reads the tree of a `use`.
    fn import(&mut self, tree: &[TokenTree], prefix: &[String], depth: usize, is_public: bool) {
        let mut path = prefix.to_vec();
        let mut name = None;
        let mut at = 0;
        while at < tree.len() {
            match &tree[at] {
                TokenTree::Ident(ident) if *ident == "as" => {
                    name = tree.get(at + 1).map(ToString::to_string);
                    at += 1;
                }
                TokenTree::Ident(ident) => path.push(plain(&ident.to_string())),
                TokenTree::Punct(star) if star.as_char() == '*' => path.push("*".to_owned()),
                TokenTree::Group(group) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    for part in
                        inner.split(|token| is_punct(Some(token), ',')).filter(|part| !part.is_empty())
                    {
                        self.import(part, &path, depth, is_public);
                    }
                    return;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => {}
            }
            at += 1;
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let Some(name) = name.or_else(|| path.last().cloned()) else { return };
        if name == "*" || name == "_" {
            self.paths.extend(in_file(path, depth));
        } else if let Some(path) = in_file(path, depth)
            // `use name;` makes a macro of this file one that others can name.
            && path != [name.as_str()]
        {
            if is_public {
                self.reexported.insert(name.clone());
            }
            self.imports.insert(name, path);
        }
    }
}

/// A path as it reads outside of the modules inside of the file; `None` where it stays within them.
fn in_file(mut path: Vec<String>, depth: usize) -> Option<Vec<String>> {
    for _ in 0..depth {
        match path.first().map(String::as_str) {
            Some("super") => {
                path.remove(0);
                if path.first().is_none_or(|next| next != "super") {
                    path.insert(0, "self".to_owned());
                }
            }
            Some("crate") => return Some(path),
            _ => return None,
        }
    }
    Some(path)
}

/// The type that the block after an `impl` is of, unless it is of a trait.
fn implemented(tokens: &[TokenTree]) -> Option<String> {
    let mut depth = 0_usize;
    let mut name = None;
    for (at, token) in tokens.iter().enumerate() {
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '<' => depth += 1,
            TokenTree::Punct(punct) if punct.as_char() == '>' => {
                let is_arrow = at > 0 && is_punct(tokens.get(at - 1), '-');
                depth = depth.saturating_sub(usize::from(!is_arrow));
            }
            TokenTree::Ident(ident) if depth == 0 && *ident == "for" => return None,
            TokenTree::Ident(ident) if depth == 0 && *ident == "where" => break,
            TokenTree::Ident(ident) if depth == 0 => name = Some(ident.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => break,
            _ => {}
        }
    }
    name
}

/// Where the item, field, variant or statement that begins at a token is over.
fn end_of_item(tokens: &[TokenTree], mut at: usize) -> usize {
    // Further attributes, and who may see it.
    while is_punct(tokens.get(at), '#') {
        at += 2;
    }
    if is_word(tokens.get(at), "pub") {
        at += 1;
        if matches!(tokens.get(at), Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis)
        {
            at += 1;
        }
    }
    let is_function = is_word(tokens.get(at), "const")
        && ["fn", "unsafe", "async", "extern"].iter().any(|word| is_word(tokens.get(at + 1), word));
    let ends_with_semicolon =
        ["use", "const", "static", "type", "let"].iter().any(|word| is_word(tokens.get(at), word));
    if ends_with_semicolon && !is_function {
        return end_at(tokens, at, ';') + 1;
    }
    let is_item = is_function
        || ["fn", "mod", "impl", "struct", "enum", "trait", "unsafe", "async", "macro_rules", "extern"]
            .iter()
            .any(|word| is_word(tokens.get(at), word));
    while let Some(token) = tokens.get(at) {
        at += 1;
        let is_over = match token {
            TokenTree::Group(group) => group.delimiter() == Delimiter::Brace,
            TokenTree::Punct(punct) => punct.as_char() == ';' || punct.as_char() == ',' && !is_item,
            TokenTree::Ident(_) | TokenTree::Literal(_) => false,
        };
        if is_over {
            break;
        }
    }
    at
}

fn end_at(tokens: &[TokenTree], from: usize, end: char) -> usize {
    (from..tokens.len()).find(|at| is_punct(tokens.get(*at), end)).unwrap_or(tokens.len())
}

/// The files that the attributes before a `mod` name, as `path = "file.rs"` or for some systems only.
fn named_files(mut before: &[TokenTree]) -> Vec<String> {
    while let [rest @ .., last] = before {
        before = match last {
            TokenTree::Ident(_) => rest,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Parenthesis => rest,
            _ => break,
        };
        if is_word(Some(last), "pub") {
            break;
        }
    }
    let mut files = Vec::new();
    while let [rest @ .., hash, TokenTree::Group(attribute)] = before {
        if !is_punct(Some(hash), '#') {
            break;
        }
        files.extend(path_in(attribute.stream()));
        before = rest;
    }
    files
}

/// The value of `path = ".."`, at any depth of an attribute.
fn path_in(attribute: TokenStream) -> Option<String> {
    let tokens: Vec<TokenTree> = attribute.into_iter().collect();
    tokens.iter().enumerate().find_map(|(at, token)| match token {
        TokenTree::Group(group) => path_in(group.stream()),
        TokenTree::Ident(ident) if *ident == "path" && is_punct(tokens.get(at + 1), '=') => {
            Some(tokens.get(at + 2)?.to_string().trim_matches('"').to_owned())
        }
        _ => None,
    })
}

/// Whether the tokens before an item end with `pub`, or `pub(crate)` and the like.
fn is_public(before: &[TokenTree]) -> bool {
    match before {
        [.., public, TokenTree::Group(_)] if is_word(Some(public), "pub") => true,
        [.., public] => is_word(Some(public), "pub"),
        [] => false,
    }
}

fn is_punct(token: Option<&TokenTree>, expected: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == expected)
}

fn is_word(token: Option<&TokenTree>, expected: &str) -> bool {
    matches!(token, Some(TokenTree::Ident(ident)) if *ident == expected)
}

/// A name without the mark of one that is a keyword.
fn plain(name: &str) -> String {
    name.trim_start_matches("r#").to_owned()
}
