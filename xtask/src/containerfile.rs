//! The recipe of the container image: what can be said of it without building it.

use std::fs;

use dev_services::Workspace;

const FILE: &str = "crates/cli/Containerfile";

#[test]
fn the_recipe_copies_what_there_is_and_ends_as_no_root() {
    let workspace = Workspace::locate().unwrap();
    let recipe = fs::read_to_string(workspace.root().join(FILE)).unwrap();
    let mut copied = Vec::new();
    for line in recipe.lines().filter_map(|line| line.strip_prefix("COPY ")) {
        if line.starts_with("--from=") {
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        copied.extend(words[..words.len() - 1].iter().map(|word| (*word).to_owned()));
    }
    for path in &copied {
        assert!(workspace.root().join(path).exists(), "{path}");
    }
    // Cargo reads the manifest of each member, whatever it builds.
    let manifest: toml::Table =
        fs::read_to_string(workspace.root().join("Cargo.toml")).unwrap().parse().unwrap();
    for member in manifest["workspace"]["members"].as_array().unwrap() {
        let top = member.as_str().unwrap().split('/').next().unwrap();
        assert!(copied.iter().any(|path| path == top), "{top} is not copied");
    }
    let (_, image) = recipe.rsplit_once("\nFROM ").unwrap();
    let user = image.lines().filter_map(|line| line.strip_prefix("USER ")).next_back();
    assert!(user.and_then(|user| user.parse::<u32>().ok()).is_some_and(|user| user > 0), "{user:?}");

    // The compiler is the one of the workspace.
    let version = manifest["workspace"]["package"]["rust-version"].as_str().unwrap();
    assert!(recipe.contains(&format!("/rust:{version}-")), "the image has another Rust than {version}");
}
