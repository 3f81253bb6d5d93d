//! No import cycle between files: the files of a package can be ordered so that each uses only items of files before it.
//!
//! A file imports another if its code, without unit tests, names an item that is defined there, also through a re-export.
//! A re-export is not an import of its file, nor is a list of the implementations of an interface ([`LISTS`]).

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// Files that list the implementations of an interface or make them: what they import from their own folder does not
/// count.
const LISTS: &[(&str, &str)] = &[
    ("src/kernels/op.rs", "the enum over all ops; fusing takes and returns it"),
    ("src/kernels/conv2d/mod.rs", "the list of kernel variants"),
    ("src/models/mod.rs", "the list of models"),
    ("src/sinks/mod.rs", "the list of formats"),
    ("src/test_cases/mod.rs", "the list of test cases"),
    ("cli/src/lib.rs", "the list of commands"),
    ("src/tagger/mod.rs", "the methods of `Tagger`, which the other files implement"),
];

/// Path of a module, of an item, or of names in code.
type Names = Vec<String>;

/// Names of one module.
#[derive(Default)]
struct Module {
    file: PathBuf,
    /// Items that are defined here.
    items: BTreeSet<String>,
    /// Names brought in by `use`, with their paths.
    uses: BTreeMap<String, Names>,
    /// Modules whose names are all brought in.
    globs: Vec<Names>,
    /// Paths in the code of the module.
    paths: Vec<Names>,
    /// Paths of `use` items that are not re-exports, for their traits; a parent may have them for its children only.
    private_uses: Vec<Names>,
    is_parent: bool,
}

/// Modules of a package by path.
#[derive(Default)]
struct Package {
    modules: BTreeMap<Names, Module>,
}

fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

/// Collects what one module says.
struct Reader<'a> {
    package: &'a mut Package,
    module: Names,
    file: &'a Path,
}

impl Reader<'_> {
    fn module(&mut self) -> &mut Module {
        let module = self.package.modules.entry(self.module.clone()).or_default();
        module.file = self.file.to_path_buf();
        module
    }

    fn define(&mut self, name: &syn::Ident) {
        self.module().items.insert(name.to_string());
    }

    fn bring_in(&mut self, tree: &syn::UseTree, before: &mut Names, is_export: bool) {
        let (name, alias) = match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.bring_in(&path.tree, before, is_export);
                before.pop();
                return;
            }
            syn::UseTree::Group(group) => {
                for item in &group.items {
                    self.bring_in(item, before, is_export);
                }
                return;
            }
            syn::UseTree::Glob(_) => {
                self.module().globs.push(before.clone());
                return;
            }
            syn::UseTree::Name(name) => (&name.ident, &name.ident),
            syn::UseTree::Rename(rename) => (&rename.ident, &rename.rename),
        };
        let mut path = before.clone();
        let mut alias = alias.to_string();
        if name == "self" {
            alias = before.last().cloned().unwrap_or_default();
        } else {
            path.push(name.to_string());
        }
        if !is_export {
            self.module().private_uses.push(path.clone());
        }
        self.module().uses.insert(alias, path);
    }

    /// Paths in the arguments of a macro.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path = Names::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    if colons != 2 && !path.is_empty() {
                        let path = std::mem::take(&mut path);
                        self.module().paths.push(path);
                    }
                    path.push(ident.to_string());
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    let path = std::mem::take(&mut path);
                    self.module().paths.push(path);
                    colons = 0;
                    if let TokenTree::Group(group) = other {
                        self.tokens(group.stream());
                    }
                }
            }
        }
        self.module().paths.push(path);
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        let (attributes, name) = match item {
            syn::Item::Const(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Enum(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Fn(item) => (&item.attrs, Some(&item.sig.ident)),
            syn::Item::Static(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Struct(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Trait(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Type(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Union(item) => (&item.attrs, Some(&item.ident)),
            syn::Item::Macro(item) => (&item.attrs, item.ident.as_ref()),
            syn::Item::Impl(item) => (&item.attrs, None),
            syn::Item::Use(item) => (&item.attrs, None),
            syn::Item::Mod(item) => (&item.attrs, None),
            _ => return,
        };
        if is_test(attributes) {
            return;
        }
        if let Some(name) = name {
            self.define(name);
        }
        match item {
            syn::Item::Use(item) => {
                let is_export = !matches!(item.vis, syn::Visibility::Inherited);
                self.bring_in(&item.tree, &mut Names::new(), is_export);
            }
            syn::Item::Mod(inline) if inline.content.is_some() => {
                self.module.push(inline.ident.to_string());
                visit::visit_item_mod(self, inline);
                self.module.pop();
            }
            syn::Item::Mod(_) => self.module().is_parent = true,
            _ => visit::visit_item(self, item),
        }
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.module().paths.push(names);
        visit::visit_path(self, path);
    }

    /// Visibilities such as `pub(in crate::audio)` are not imports.
    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        visit::visit_macro(self, call);
        self.tokens(call.tokens.clone());
    }
}

impl Package {
    /// Reads the Rust files below `folder`.
    fn read(folder: &Path) -> Package {
        let mut package = Package::default();
        let mut folders = vec![folder.to_path_buf()];
        while let Some(next) = folders.pop() {
            for entry in std::fs::read_dir(next).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    package.read_file(folder, &path);
                }
            }
        }
        package
    }

    fn read_file(&mut self, folder: &Path, path: &Path) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (file, relative) = (path.strip_prefix(root).unwrap(), path.strip_prefix(folder).unwrap());
        let mut module: Names =
            relative.with_extension("").iter().map(|part| part.to_str().unwrap().to_string()).collect();
        if module.last().is_some_and(|last| last == "mod") || module == ["lib"] {
            module.pop();
        }
        self.add(module, file, &std::fs::read_to_string(path).unwrap());
    }

    fn add(&mut self, module: Names, file: &Path, text: &str) {
        let code = syn::parse_file(text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut reader = Reader { package: self, module, file };
        reader.module();
        reader.visit_file(&code);
    }

    /// File that defines the item of a path used in `module`; none for modules and for other packages.
    fn file_of(&self, module: &[String], path: &[String], depth: usize) -> Option<&Path> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => self.file_in(&[], rest, depth),
            "self" => self.file_in(module, rest, depth),
            "super" => self.file_in(&module[..module.len().checked_sub(1)?], rest, depth),
            _ => self.file_in(module, path, depth),
        }
    }

    /// File that defines the item of a path inside `module`.
    fn file_in(&self, module: &[String], path: &[String], depth: usize) -> Option<&Path> {
        let names = self.modules.get(module)?;
        let (first, rest) = path.split_first()?;
        if first == "super" {
            return self.file_of(module, path, depth);
        }
        if names.items.contains(first) {
            return Some(&names.file);
        }
        let child: Names = [module, std::slice::from_ref(first)].concat();
        if self.modules.contains_key(&child) {
            return self.file_in(&child, rest, depth);
        }
        let depth = depth.checked_sub(1)?;
        if let Some(target) = names.uses.get(first) {
            return self.file_of(module, &[target.as_slice(), rest].concat(), depth);
        }
        names.globs.iter().find_map(|glob| self.file_of(module, &[glob.as_slice(), path].concat(), depth))
    }

    /// Files that each file imports, with a path that names an item there; without what `lists` import from their own
    /// folder.
    fn imports(&self, lists: &[&str]) -> BTreeMap<&Path, BTreeMap<&Path, String>> {
        let mut imports: BTreeMap<&Path, BTreeMap<&Path, String>> = BTreeMap::new();
        for (name, module) in &self.modules {
            let of = imports.entry(&module.file).or_default();
            let is_list = lists.iter().any(|list| module.file == Path::new(list));
            let below = |file: &Path| is_list && file.starts_with(module.file.parent().unwrap());
            let private_uses = module.private_uses.iter().filter(|_| !module.is_parent);
            for path in module.paths.iter().chain(private_uses) {
                let file = self.file_of(name, path, 8);
                if let Some(file) = file.filter(|file| *file != module.file && !below(file)) {
                    of.entry(file).or_insert_with(|| path.join("::"));
                }
            }
        }
        imports
    }

    /// A shortest cycle through each file that is part of one, each cycle once.
    fn cycles(&self, lists: &[&str]) -> Vec<String> {
        let imports = self.imports(lists);
        let mut seen = BTreeSet::new();
        let mut cycles = Vec::new();
        for start in imports.keys() {
            let mut before: BTreeMap<&Path, &Path> = BTreeMap::new();
            let mut queue = std::collections::VecDeque::from([*start]);
            while let Some(file) = queue.pop_front() {
                for next in imports.get(file).into_iter().flat_map(BTreeMap::keys) {
                    if !before.contains_key(next) {
                        before.insert(next, file);
                        queue.push_back(next);
                    }
                }
            }
            let mut cycle = Vec::new();
            let mut file = *start;
            while let Some(importer) = before.get(file) {
                cycle.push((*importer, file));
                file = importer;
                if file == *start {
                    break;
                }
            }
            let files: BTreeSet<_> = cycle.iter().map(|(importer, _)| *importer).collect();
            if !cycle.is_empty() && seen.insert(files) {
                cycle.reverse();
                let step = |(from, to): &(&Path, &Path)| {
                    format!("  {} uses {} of {}", from.display(), imports[from][to], to.display())
                };
                cycles.push(cycle.iter().map(step).collect::<Vec<_>>().join("\n"));
            }
        }
        cycles
    }
}

fn package(files: &[(&str, &str)]) -> Package {
    let mut package = Package::default();
    package.add(Names::new(), Path::new("lib"), "mod a;");
    for (file, text) in files {
        let module = file.split('/').filter(|name| *name != "mod").map(str::to_string).collect();
        package.add(module, Path::new(file), text);
    }
    package
}

#[test]
fn cycles_are_found() {
    // Through a re-export, a macro, an inherited import and a parent.
    let cyclic = package(&[
        ("a/mod", "mod b; mod c; pub use b::B; pub use c::C;"),
        ("a/b", "pub struct B; use crate::a::C;"),
        ("a/c", "pub struct C; fn f() { vec![super::B::new()]; }"),
    ]);
    assert_eq!(cyclic.cycles(&[]), ["  a/b uses crate::a::C of a/c\n  a/c uses super::B::new of a/b"]);
    let parent = package(&[
        ("a/mod", "mod b; pub use b::B; pub struct A { b: B }"),
        ("a/b", "use super::*; pub struct B; impl A {}"),
    ]);
    assert_eq!(parent.cycles(&[]), ["  a/b uses A of a/mod\n  a/mod uses B of a/b"]);
    // Re-exports and unit tests are not imports.
    let ordered = package(&[
        ("a/mod", "mod b; mod c; pub use b::B; pub(crate) use c::C; pub struct A;"),
        ("a/b", "use super::A; pub struct B; #[cfg(test)] mod tests { use super::super::C; }"),
        ("a/c", "use super::B; pub struct C;"),
    ]);
    assert_eq!(ordered.cycles(&[]), [""; 0]);
}

#[test]
fn files_do_not_import_each_other_in_a_cycle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lists: Vec<&str> = LISTS.iter().map(|(list, _)| *list).collect();
    let mut needed = BTreeSet::new();
    for folder in ["src", "cli/src"] {
        let package = Package::read(&root.join(folder));
        let imports: usize = package.imports(&lists).values().map(BTreeMap::len).sum();
        assert!(imports > 50, "{folder}: found {imports} imports");
        let cycles = package.cycles(&lists);
        assert!(
            cycles.is_empty(),
            "{folder}: {} import cycles; move the shared type to a file of its own:\n{}",
            cycles.len(),
            cycles.join("\n\n")
        );
        for list in &lists {
            let others: Vec<&str> = lists.iter().copied().filter(|other| other != list).collect();
            if !package.cycles(&others).is_empty() {
                needed.insert(*list);
            }
        }
    }
    assert_eq!(needed, BTreeSet::from_iter(lists), "files without a cycle need no entry in LISTS");
}
