//! `daglight completions` and `daglight man`: the command line for shells and `man`.

use std::{fs, io, path::Path, process::ExitCode};

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::{
    args::Args,
    failure::Failure,
    say::{self, say},
    set_up_args::{CompletionsArgs, ManArgs},
};

pub(crate) fn completions(args: &CompletionsArgs) -> Result<ExitCode, Failure> {
    say::document(script(args.shell).trim_end());
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell) -> String {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "daglight", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}

pub(crate) fn man(args: &ManArgs) -> Result<ExitCode, Failure> {
    let count = write_pages(&args.dir)
        .map_err(|error| Failure::work(format!("cannot write pages to {}: {error}", args.dir.display())))?;
    say!("wrote {count} pages to {}", args.dir.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes a page for the program and one for each command, and returns their number.
fn write_pages(folder: &Path) -> io::Result<usize> {
    fs::create_dir_all(folder)?;
    let mut program = Args::command().disable_help_subcommand(true);
    // Before the commands are accessed, so that each has its full name.
    program.build();
    let mut count = 0;
    let mut commands = vec![program];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().cloned());
        let page = clap_mangen::Man::new(command).source(concat!("daglight ", env!("CARGO_PKG_VERSION")));
        page.generate_to(folder)?;
        count += 1;
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shells read what is printed, and what is printed has no character that a terminal acts on.
    #[test]
    fn scripts_are_printed_as_they_are() {
        for shell in [Shell::Bash, Shell::Elvish, Shell::Fish, Shell::PowerShell, Shell::Zsh] {
            let script = script(shell);
            assert!(script.contains("fail-on"), "{shell}");
            assert_eq!(daglight::policy::printable_lines(&script), script, "{shell}");
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        let count = write_pages(folder.path()).unwrap();
        let mut pages: Vec<String> = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        pages.sort();
        assert_eq!(pages.len(), count, "{pages:?}");
        for page in ["daglight.1", "daglight-run.1", "daglight-bundle-verify.1", "daglight-completions.1"] {
            assert!(pages.iter().any(|found| found == page), "{page}: {pages:?}");
        }
        let page = fs::read_to_string(folder.path().join("daglight-bundle-verify.1")).unwrap();
        assert!(page.contains("daglight bundle verify"), "{page}");
    }
}
