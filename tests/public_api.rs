//! The public surface of the library, without the feature `unstable`, is the committed listing `golden/public_api.txt`: a
//! change of it shows in review. `UPDATE_PUBLIC_API=1 cargo test --test public_api` writes the listing anew.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use quote::format_ident;
use syn::{Attribute, Fields, ImplItem, Item, Meta, TraitItem, Visibility, parse_quote};

const LISTING: &str = "tests/golden/public_api.txt";

/// Features that make more of the library public than a user may rely on.
const UNSTABLE: [&str; 8] =
    ["evaluation", "fetch", "learning", "parquet", "pca", "search", "sinks", "unstable"];

type ModulePath = Vec<String>;

/// A module's items, without unit tests and without items of the feature `unstable`.
struct Module {
    items: Vec<Item>,
    /// False below a module that is not `pub`, whose items are reached through re-exports only.
    is_public: bool,
}

/// Source of the library: its modules by path, and the `impl` blocks by the name of their type.
#[derive(Default)]
struct Library {
    modules: BTreeMap<ModulePath, Module>,
    impls: BTreeMap<String, Vec<(ModulePath, syn::ItemImpl)>>,
}

/// The attributes of an item, if it is of a kind that is listed.
fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn name(item: &Item) -> Option<String> {
    Some(match item {
        Item::Const(item) => item.ident.to_string(),
        Item::Enum(item) => item.ident.to_string(),
        Item::Fn(item) => item.sig.ident.to_string(),
        Item::Static(item) => item.ident.to_string(),
        Item::Struct(item) => item.ident.to_string(),
        Item::Trait(item) => item.ident.to_string(),
        Item::Type(item) => item.ident.to_string(),
        _ => return None,
    })
}

fn is_public(visibility: &Visibility) -> bool {
    matches!(visibility, Visibility::Public(_))
}

/// True for items of unit tests and fuzzing, and for what is public or documented only with the feature `unstable`.
fn is_left_out(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let Meta::List(list) = &attribute.meta else { return false };
        let condition = list.tokens.to_string().replace(' ', "");
        if list.path.is_ident("cfg_attr") {
            return condition == "not(feature=\"unstable\"),doc(hidden)";
        }
        let is_unstable = |name: &&str| {
            let feature = format!("feature=\"{name}\"");
            condition.replace(&format!("not({feature})"), "").contains(&feature)
        };
        list.path.is_ident("cfg")
            && (["test", "fuzzing"].contains(&condition.as_str()) || UNSTABLE.iter().any(is_unstable))
    })
}

impl Library {
    fn read(file: &Path, path: ModulePath, is_public: bool, library: &mut Library) {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let items = syn::parse_file(&text).unwrap().items;
        let stem = file.file_stem().and_then(|stem| stem.to_str()).unwrap();
        let folder = file.parent().unwrap();
        let folder = if ["lib", "mod"].contains(&stem) { folder.to_path_buf() } else { folder.join(stem) };
        Library::add(items, &folder, path, is_public, library);
    }

    fn add(items: Vec<Item>, folder: &Path, path: ModulePath, is_public: bool, library: &mut Library) {
        let mut kept = Vec::new();
        for item in items.into_iter().filter(|item| !is_left_out(attributes(item))) {
            match item {
                Item::Mod(module) => {
                    let below = [path.clone(), vec![module.ident.to_string()]].concat();
                    let is_public = is_public && self::is_public(&module.vis);
                    let name = module.ident.to_string();
                    if let Some((_, items)) = module.content {
                        Library::add(items, &folder.join(name), below, is_public, library);
                    } else {
                        let file = folder.join(format!("{name}.rs"));
                        let file = if file.exists() { file } else { folder.join(name).join("mod.rs") };
                        Library::read(&file, below, is_public, library);
                    }
                }
                Item::Impl(block) => {
                    if let syn::Type::Path(of) = &*block.self_ty {
                        let name = of.path.segments.last().unwrap().ident.to_string();
                        library.impls.entry(name).or_default().push((path.clone(), block));
                    }
                }
                other => kept.push(other),
            }
        }
        let empty = Module { items: Vec::new(), is_public };
        library.modules.entry(path).or_insert(empty).items.extend(kept);
    }

    /// The module and the item that `path`, as written in `module`, names.
    fn resolve(&self, module: &[String], path: &[String]) -> Option<(ModulePath, Item)> {
        let (name_wanted, mut rest) = path.split_last()?;
        let mut at = module.to_vec();
        while let Some((first, others)) = rest.split_first() {
            match first.as_str() {
                "crate" => at.clear(),
                "self" => {}
                "super" => {
                    at.pop();
                }
                other => at.push(other.to_string()),
            }
            rest = others;
        }
        let found = self.modules.get(&at)?;
        for item in &found.items {
            if name(item).as_ref() == Some(name_wanted) {
                return Some((at, item.clone()));
            }
            if let Item::Use(import) = item {
                for (alias, target) in targets(&import.tree, &mut Vec::new()) {
                    // `use wgpu` names another crate, not itself.
                    if alias == *name_wanted
                        && target != [alias]
                        && let Some(found) = self.resolve(&at, &target)
                    {
                        return Some(found);
                    }
                }
            }
        }
        None
    }

    /// Public items of `module`, also re-exported ones, each with the module that defines it.
    fn public_items(&self, path: &[String]) -> Vec<(ModulePath, Item)> {
        let mut public = Vec::new();
        for item in &self.modules[path].items {
            let visibility = match item {
                Item::Const(item) => &item.vis,
                Item::Enum(item) => &item.vis,
                Item::Fn(item) => &item.vis,
                Item::Static(item) => &item.vis,
                Item::Struct(item) => &item.vis,
                Item::Trait(item) => &item.vis,
                Item::Type(item) => &item.vis,
                Item::Use(item) => &item.vis,
                _ => continue,
            };
            if !is_public(visibility) {
                continue;
            }
            let Item::Use(import) = item else {
                public.push((path.to_vec(), item.clone()));
                continue;
            };
            for (_, target) in targets(&import.tree, &mut Vec::new()) {
                if let Some((home, mut item)) = self.resolve(path, &target) {
                    add_conditions(&mut item, &import.attrs);
                    public.push((home, item));
                } else {
                    // An item of another crate.
                    public.push((path.to_vec(), Item::Use(import.clone())));
                }
            }
        }
        public
    }

    /// The `impl` blocks of a type that `home` defines.
    fn impls_of(&self, home: &[String], name: &str) -> Vec<syn::ItemImpl> {
        let blocks = self.impls.get(name).into_iter().flatten();
        let of_this = blocks.filter(|(module, block)| {
            let syn::Type::Path(of) = &*block.self_ty else { return false };
            let path: Vec<String> =
                of.path.segments.iter().map(|segment| segment.ident.to_string()).collect();
            self.resolve(module, &path).is_some_and(|(found, _)| found == home)
        });
        of_this.filter_map(|(_, block)| surface_of_impl(block)).collect()
    }

    fn listing(&self) -> String {
        let mut text = String::from("// Public surface of the library without the feature `unstable`.\n");
        for path in self.modules.iter().filter(|(_, module)| module.is_public).map(|(path, _)| path) {
            let mut items = Vec::new();
            for (home, item) in self.public_items(path) {
                let types = matches!(item, Item::Struct(_) | Item::Enum(_));
                let name = name(&item);
                items.push(surface(item));
                if let Some(name) = name.filter(|_| types) {
                    items.extend(self.impls_of(&home, &name).into_iter().map(Item::Impl));
                }
            }
            if items.is_empty() {
                continue;
            }
            let module = ["tagwave".to_string()].into_iter().chain(path.iter().cloned());
            text += &format!("\n// {}\n\n", module.collect::<Vec<_>>().join("::"));
            text += &prettyplease::unparse(&syn::File { shebang: None, attrs: Vec::new(), items });
        }
        text.replace("__private: (),", "// private fields").replace("(__private)", "(/* private */)")
    }
}

/// Names that a `use` tree brings in, each with its path.
fn targets(tree: &syn::UseTree, before: &mut Vec<String>) -> Vec<(String, Vec<String>)> {
    let (name, alias) = match tree {
        syn::UseTree::Path(path) => {
            before.push(path.ident.to_string());
            let found = targets(&path.tree, before);
            before.pop();
            return found;
        }
        syn::UseTree::Group(group) => {
            return group.items.iter().flat_map(|item| targets(item, before)).collect();
        }
        syn::UseTree::Glob(_) => return Vec::new(),
        syn::UseTree::Name(name) => (&name.ident, &name.ident),
        syn::UseTree::Rename(rename) => (&rename.ident, &rename.rename),
    };
    if name == "self" {
        return Vec::new();
    }
    let path = before.iter().cloned().chain([name.to_string()]).collect();
    vec![(alias.to_string(), path)]
}

/// Attributes that a user sees: features, derived traits, and what may grow.
fn keep_surface(attributes: &mut Vec<Attribute>) {
    attributes.retain(|attribute| {
        ["cfg", "derive", "non_exhaustive", "must_use"].iter().any(|name| attribute.path().is_ident(name))
    });
}

fn add_conditions(item: &mut Item, conditions: &[Attribute]) {
    let attributes = match item {
        Item::Const(item) => &mut item.attrs,
        Item::Enum(item) => &mut item.attrs,
        Item::Fn(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        Item::Trait(item) => &mut item.attrs,
        Item::Type(item) => &mut item.attrs,
        _ => return,
    };
    attributes.extend(conditions.iter().filter(|attribute| attribute.path().is_ident("cfg")).cloned());
}

/// Private fields become one field `__private`.
fn surface_of_fields(fields: &mut Fields) {
    match fields {
        Fields::Named(named) => {
            let all = std::mem::take(&mut named.named);
            let count = all.len();
            let is_listed = |field: &syn::Field| is_public(&field.vis) && !is_left_out(&field.attrs);
            named.named = all.into_iter().filter(is_listed).collect();
            if named.named.len() < count {
                let private = format_ident!("__private");
                named.named.push(
                    syn::parse::Parser::parse2(syn::Field::parse_named, quote::quote!(#private: ())).unwrap(),
                );
            }
            for field in &mut named.named {
                keep_surface(&mut field.attrs);
            }
        }
        Fields::Unnamed(unnamed) => {
            for field in &mut unnamed.unnamed {
                keep_surface(&mut field.attrs);
                if !is_public(&field.vis) {
                    field.ty = parse_quote!(__private);
                }
            }
        }
        Fields::Unit => {}
    }
}

/// An item without documentation, bodies and private parts.
fn surface(item: Item) -> Item {
    match item {
        Item::Const(mut item) => {
            keep_surface(&mut item.attrs);
            item.expr = parse_quote!(_);
            Item::Const(item)
        }
        Item::Enum(mut item) => {
            keep_surface(&mut item.attrs);
            item.variants =
                item.variants.into_iter().filter(|variant| !is_left_out(&variant.attrs)).collect();
            for variant in &mut item.variants {
                keep_surface(&mut variant.attrs);
                for field in &mut variant.fields {
                    keep_surface(&mut field.attrs);
                }
            }
            Item::Enum(item)
        }
        Item::Fn(mut item) => {
            keep_surface(&mut item.attrs);
            item.block = parse_quote!({});
            Item::Fn(item)
        }
        Item::Struct(mut item) => {
            keep_surface(&mut item.attrs);
            surface_of_fields(&mut item.fields);
            Item::Struct(item)
        }
        Item::Trait(mut item) => {
            keep_surface(&mut item.attrs);
            item.items
                .retain(|member| !matches!(member, TraitItem::Fn(method) if is_left_out(&method.attrs)));
            for member in &mut item.items {
                match member {
                    TraitItem::Fn(method) => {
                        keep_surface(&mut method.attrs);
                        method.default = method.default.as_ref().map(|_| parse_quote!({}));
                    }
                    TraitItem::Type(of) => keep_surface(&mut of.attrs),
                    TraitItem::Const(of) => keep_surface(&mut of.attrs),
                    _ => {}
                }
            }
            Item::Trait(item)
        }
        Item::Type(mut item) => {
            keep_surface(&mut item.attrs);
            Item::Type(item)
        }
        Item::Use(mut item) => {
            keep_surface(&mut item.attrs);
            Item::Use(item)
        }
        other => other,
    }
}

/// The public methods of an inherent `impl`, or the heading of a trait's.
fn surface_of_impl(block: &syn::ItemImpl) -> Option<syn::ItemImpl> {
    let mut block = block.clone();
    keep_surface(&mut block.attrs);
    if block.trait_.is_some() {
        block.items.retain(|item| matches!(item, ImplItem::Type(_)));
        return Some(block);
    }
    block.items.retain_mut(|item| match item {
        ImplItem::Fn(method) => {
            let is_listed = is_public(&method.vis) && !is_left_out(&method.attrs);
            keep_surface(&mut method.attrs);
            method.block = parse_quote!({});
            is_listed
        }
        ImplItem::Const(of) => {
            let is_listed = is_public(&of.vis) && !is_left_out(&of.attrs);
            keep_surface(&mut of.attrs);
            of.expr = parse_quote!(_);
            is_listed
        }
        _ => false,
    });
    (!block.items.is_empty()).then_some(block)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn public_surface_is_as_committed() {
    let mut library = Library::default();
    Library::read(&root().join("src/lib.rs"), Vec::new(), true, &mut library);
    let listing = library.listing();
    let path = root().join(LISTING);
    if std::env::var_os("UPDATE_PUBLIC_API").is_some() {
        std::fs::write(&path, &listing).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    let difference = listing.lines().zip(committed.lines()).position(|(now, before)| now != before);
    let line = difference.unwrap_or_else(|| listing.lines().count().min(committed.lines().count()));
    assert!(
        listing == committed,
        "the public surface differs from {LISTING} at line {}:\n  now    {}\n  listed {}\n\
         if that is meant, run UPDATE_PUBLIC_API=1 cargo test --test public_api and commit the listing",
        line + 1,
        listing.lines().nth(line).unwrap_or("(end)"),
        committed.lines().nth(line).unwrap_or("(end)"),
    );
}
