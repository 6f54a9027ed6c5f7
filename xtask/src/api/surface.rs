//! The public items of a crate, one line for each item, field, variant, method and implementation.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use proc_macro2::{TokenStream, TokenTree};
use quote::ToTokens as _;
use syn::{
    Attribute, Block, Expr, Fields, ImplItem, Item, ItemFn, ItemImpl, Meta, Signature, TraitItem, Type,
    Visibility,
};

/// The lines of the crate with this root, in order.
pub(super) fn lines(root: &Path) -> Result<Vec<String>> {
    let mut surface = Surface::default();
    let folder = root.parent().context("a file has a folder")?;
    surface.read_file(root, folder)?;
    Ok(surface.finish())
}

#[derive(Default)]
struct Surface {
    lines: Vec<String>,
    /// The public types and traits.
    names: BTreeSet<String>,
    /// Lines that count if the name before them is one of a public type.
    implementations: Vec<(String, String)>,
    /// The macros of the crate that make something public.
    makers: BTreeSet<String>,
    /// The uses of macros where an item may stand.
    made: Vec<(String, Vec<String>)>,
}

impl Surface {
    fn read_file(&mut self, file: &Path, children: &Path) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let parsed = syn::parse_file(&text).with_context(|| format!("{} is not Rust", file.display()))?;
        // Generated code says `pub` of everything, and is private to its crate.
        let is_generated = parsed.attrs.iter().any(|attribute| {
            attribute.path().is_ident("allow")
                && attribute.meta.to_token_stream().to_string().contains("unreachable_pub")
        });
        if is_generated { Ok(()) } else { self.read_items(parsed.items, children) }
    }

    fn read_items(&mut self, items: Vec<Item>, folder: &Path) -> Result<()> {
        for item in items {
            if is_of_tests(attributes(&item)) {
                continue;
            }
            match item {
                Item::Mod(module) => {
                    if is_public(&module.vis) {
                        self.lines.push(format!("pub mod {}", module.ident));
                    }
                    let below = folder.join(module.ident.to_string());
                    match module.content {
                        Some((_, items)) => self.read_items(items, &below)?,
                        None => self.read_file(&file_of(&below, &module.attrs), &below)?,
                    }
                }
                other => self.read_item(other),
            }
        }
        Ok(())
    }

    fn read_item(&mut self, item: Item) {
        match item {
            Item::Use(mut item) if is_public(&item.vis) => {
                item.attrs.retain(is_shown);
                self.uses(&item.tree, "");
            }
            Item::Fn(item) if is_public(&item.vis) => {
                self.lines.push(function(&item.attrs, &item.vis, &item.sig))
            }
            Item::Struct(item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                self.fields(&name, &item.fields);
                let head = Item::Struct(syn::ItemStruct {
                    attrs: shown(&item.attrs),
                    fields: Fields::Unit,
                    semi_token: Some(Default::default()),
                    ..item
                });
                self.named(&name, &head);
            }
            Item::Enum(mut item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                for variant in &mut item.variants {
                    variant.attrs = shown(&variant.attrs);
                    for field in &mut variant.fields {
                        field.attrs = shown(&field.attrs);
                    }
                    self.lines.push(format!("{name}::{}", tidy(&variant.to_token_stream())));
                }
                let head = Item::Enum(syn::ItemEnum {
                    attrs: shown(&item.attrs),
                    variants: Default::default(),
                    ..item
                });
                self.named(&name, &head);
            }
            Item::Trait(item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                for method in &item.items {
                    self.of_trait(&name, method);
                }
                let head =
                    Item::Trait(syn::ItemTrait { attrs: shown(&item.attrs), items: Vec::new(), ..item });
                self.named(&name, &head);
            }
            Item::Type(item) if is_public(&item.vis) => {
                let name = item.ident.to_string();
                self.named(&name, &Item::Type(syn::ItemType { attrs: shown(&item.attrs), ..item }));
            }
            Item::Const(item) if is_public(&item.vis) => {
                self.lines.push(format!(
                    "pub const {}: {}{}",
                    item.ident,
                    tidy(&item.ty.to_token_stream()),
                    value(&item.expr)
                ));
            }
            Item::Static(item) if is_public(&item.vis) => {
                self.lines.push(format!("pub static {}: {}", item.ident, tidy(&item.ty.to_token_stream())));
            }
            Item::Impl(item) => self.implementation(item),
            Item::Macro(item) => self.read_macro(&item),
            _ => {}
        }
    }

    fn named(&mut self, name: &str, head: &Item) {
        self.names.insert(name.to_owned());
        self.lines.push(printed(head));
    }

    fn uses(&mut self, tree: &syn::UseTree, before: &str) {
        match tree {
            syn::UseTree::Path(path) => self.uses(&path.tree, &format!("{before}{}::", path.ident)),
            syn::UseTree::Group(group) => group.items.iter().for_each(|tree| self.uses(tree, before)),
            leaf => self.lines.push(format!("pub use {before}{}", tidy(&leaf.to_token_stream()))),
        }
    }

    fn fields(&mut self, name: &str, fields: &Fields) {
        for (index, field) in fields.iter().enumerate().filter(|(_, field)| is_public(&field.vis)) {
            let field_name = field.ident.as_ref().map_or(index.to_string(), ToString::to_string);
            self.lines.push(format!("{name}.{field_name}: {}", tidy(&field.ty.to_token_stream())));
        }
        if fields.iter().any(|field| !is_public(&field.vis)) {
            self.lines.push(format!("{name}.(private fields)"));
        }
    }

    fn of_trait(&mut self, name: &str, item: &TraitItem) {
        let line = match item {
            TraitItem::Fn(method) => {
                let is_provided = if method.default.is_some() { " (provided)" } else { "" };
                format!("{}{is_provided}", function(&method.attrs, &Visibility::Inherited, &method.sig))
            }
            other => tidy(&other.to_token_stream()),
        };
        self.lines.push(format!("{name}: {line}"));
    }

    fn implementation(&mut self, item: ItemImpl) {
        let name = last_name(&item.self_ty);
        let of = tidy(&item.self_ty.to_token_stream());
        if let Some((_, path, _)) = &item.trait_ {
            let line = format!(
                "impl{} {} for {of}",
                tidy(&item.generics.to_token_stream()),
                tidy(&path.to_token_stream())
            );
            self.implementations.push((name, line));
            return;
        }
        for member in &item.items {
            let line = match member {
                ImplItem::Fn(method) if is_public(&method.vis) && !is_of_tests(&method.attrs) => {
                    function(&method.attrs, &method.vis, &method.sig)
                }
                ImplItem::Const(constant) if is_public(&constant.vis) => {
                    format!(
                        "pub const {}: {}{}",
                        constant.ident,
                        tidy(&constant.ty.to_token_stream()),
                        value(&constant.expr)
                    )
                }
                _ => continue,
            };
            self.implementations.push((name.clone(), format!("{of}: {line}")));
        }
    }

    fn read_macro(&mut self, item: &syn::ItemMacro) {
        if let Some(name) = &item.ident {
            if has_public(item.mac.tokens.clone()) {
                self.makers.insert(name.to_string());
            }
            if item.attrs.iter().any(|attribute| attribute.path().is_ident("macro_export")) {
                self.lines.push(format!("macro {name}!"));
            }
            return;
        }
        let name = item.mac.path.segments.last().map(|segment| segment.ident.to_string()).unwrap_or_default();
        if has_public(item.mac.tokens.clone()) {
            self.makers.insert(name.clone());
        }
        self.made.push((name, parts(item.mac.tokens.clone())));
    }

    fn finish(mut self) -> Vec<String> {
        for (name, parts) in &self.made {
            if self.makers.contains(name) {
                self.lines.extend(parts.iter().map(|part| format!("{name}!: {part}")));
            }
        }
        let made: String =
            self.made.iter().flat_map(|(_, parts)| parts).map(|part| format!(" {part} ")).collect();
        for (name, line) in self.implementations {
            if self.names.contains(&name) || made.contains(&format!(" {name} ")) {
                self.lines.push(line);
            }
        }
        self.lines.sort();
        self.lines.dedup();
        self.lines
    }
}

/// The file of a module: the first that an attribute names, which is that of the supported systems, or the one of its name.
fn file_of(module: &Path, attributes: &[Attribute]) -> PathBuf {
    let named = attributes.iter().find_map(|attribute| {
        let text = tidy(&attribute.meta.to_token_stream());
        Some(text.split_once("path = \"")?.1.split('"').next()?.to_owned())
    });
    let beside = module.with_extension("rs");
    match named {
        Some(name) => module.with_file_name(name),
        None if beside.exists() => beside,
        None => module.join("mod.rs"),
    }
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

fn is_of_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        matches!(&attribute.meta, Meta::List(list) if list.path.is_ident("cfg") && list.tokens.to_string() == "test")
    })
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Mod(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Const(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        _ => &[],
    }
}

/// What an attribute says that a user of the item depends on.
fn is_shown(attribute: &Attribute) -> bool {
    ["cfg", "deprecated", "derive", "must_use", "non_exhaustive", "repr"]
        .iter()
        .any(|name| attribute.path().is_ident(name))
}

fn shown(attributes: &[Attribute]) -> Vec<Attribute> {
    attributes.iter().filter(|attribute| is_shown(attribute)).cloned().collect()
}

fn function(attributes: &[Attribute], visibility: &Visibility, signature: &Signature) -> String {
    let empty = Block { brace_token: Default::default(), stmts: Vec::new() };
    let function = ItemFn {
        attrs: shown(attributes),
        vis: visibility.clone(),
        sig: signature.clone(),
        block: Box::new(empty),
    };
    printed(&Item::Fn(function))
}

/// The value of a constant where it is short enough to be what users see of it.
fn value(expression: &Expr) -> String {
    match expression {
        Expr::Lit(literal) => format!(" = {}", literal.to_token_stream()),
        _ => String::new(),
    }
}

/// An item in one line, without a body.
fn printed(item: &Item) -> String {
    let file = syn::File { shebang: None, attrs: Vec::new(), items: vec![item.clone()] };
    let line = prettyplease::unparse(&file).split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(';').trim_end_matches("{}").trim_end();
    line.replace("( ", "(").replace(" )", ")").replace(",)", ")").replace(", >", ">")
}

/// Tokens in one line, spaced about as people write them.
fn tidy(tokens: &TokenStream) -> String {
    let mut line = tokens.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    for (from, to) in [
        (" :: ", "::"),
        (" < ", "<"),
        ("< ", "<"),
        (" >", ">"),
        (" ,", ","),
        (" : ", ": "),
        ("& ", "&"),
        (" (", "("),
        ("( ", "("),
        (" )", ")"),
    ] {
        line = line.replace(from, to);
    }
    line
}

fn last_name(of: &Type) -> String {
    match of {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        Type::Reference(reference) => last_name(&reference.elem),
        _ => String::new(),
    }
}

/// Whether `pub`, without parentheses behind it, is anywhere in tokens.
fn has_public(tokens: TokenStream) -> bool {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    tokens.iter().enumerate().any(|(at, token)| match token {
        TokenTree::Ident(ident) => {
            *ident == "pub" && !matches!(tokens.get(at + 1), Some(TokenTree::Group(_)))
        }
        TokenTree::Group(group) => has_public(group.stream()),
        _ => false,
    })
}

/// The arguments of a macro, one for each that ends with a semicolon or a comma, and without attributes. Of prose nothing is kept.
fn parts(tokens: TokenStream) -> Vec<String> {
    let tokens: Vec<TokenTree> = tokens.into_iter().collect();
    let (mut parts, mut part, mut at) = (Vec::new(), String::new(), 0);
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token {
            TokenTree::Punct(punct) if punct.as_char() == '#' => at += 1,
            TokenTree::Punct(punct) if [';', ','].contains(&punct.as_char()) => {
                parts.push(std::mem::take(&mut part))
            }
            TokenTree::Group(group) if group.delimiter() == proc_macro2::Delimiter::Brace => {
                parts.push(std::mem::take(&mut part));
                parts.extend(self::parts(group.stream()));
            }
            TokenTree::Literal(literal) if literal.to_string().contains(' ') => part.push_str(" ..."),
            other => {
                part.push(' ');
                part.push_str(&tidy(&other.to_token_stream()));
            }
        }
    }
    parts.push(part);
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(source: &str, expected: &[&str]) {
        let mut surface = Surface::default();
        surface.read_items(syn::parse_file(source).unwrap().items, Path::new("nowhere")).unwrap();
        assert_eq!(surface.finish(), expected);
    }

    #[test]
    fn types_are_listed_with_what_is_public_of_them() {
        check(
            "/// Text.\n#[derive(Debug)] #[non_exhaustive] pub struct A<T> { /// Text.\n pub a: Vec<T>, b: u8 }\n\
             struct Hidden { pub a: u8 }\n impl Hidden { pub fn new() -> Self { Self { a: 1 } } }\n\
             impl<T> A<T> { pub fn new(a: &str) -> Self { loop {} } fn inner(&self) {} pub(crate) fn near(&self) {} }\n\
             impl<T> Clone for A<T> { fn clone(&self) -> Self { loop {} } }",
            &[
                "#[derive(Debug)] #[non_exhaustive] pub struct A<T>",
                "A.(private fields)",
                "A.a: Vec<T>",
                "A<T>: pub fn new(a: &str) -> Self",
                "impl<T> Clone for A<T>",
            ],
        );
    }

    #[test]
    fn enums_traits_constants_and_exports_are_listed() {
        check(
            "pub use a::{B, c::D as E}; pub enum F { G, H { i: u8 } } pub const J: &str = \"k\";\n\
             pub trait L { fn m(&self); fn n(&self) {} }\n pub mod o { pub fn p() {} fn q() {} }\n\
             #[cfg(test)] mod tests { pub fn r() {} }",
            &[
                "F::G",
                "F::H { i: u8 }",
                "L: fn m(&self)",
                "L: fn n(&self) (provided)",
                "pub const J: &str = \"k\"",
                "pub enum F",
                "pub fn p()",
                "pub mod o",
                "pub trait L",
                "pub use a::B",
                "pub use a::c::D as E",
            ],
        );
    }

    #[test]
    fn what_a_macro_makes_is_listed_as_its_arguments() {
        check(
            "macro_rules! kinds { ($($kind:ident = $id:literal;)*) => { pub enum Kind { $($kind),* } } }\n\
             macro_rules! quiet { ($a:ident) => { struct $a; } }\n\
             kinds! { /// Text.\n Spill = \"spill\"; Idle = \"a long text\"; } quiet! { Secret }",
            &["kinds!: Idle = ...", "kinds!: Spill = \"spill\""],
        );
    }
}
