//! The options of the commands that set Daglight up.

use std::path::PathBuf;

use clap::Args as ClapArgs;

#[derive(Debug, ClapArgs)]
pub(crate) struct InitArgs {
    /// The folder; it is made where it is not there. Default: the working directory.
    #[arg(default_value = ".", hide_default_value = true)]
    pub(crate) dir: PathBuf,
    /// Replace the file that is there.
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, ClapArgs)]
#[command(after_help = "\
Examples:
  daglight completions bash > ~/.local/share/bash-completion/completions/daglight
  daglight completions zsh > \"${fpath[1]}/_daglight\"
  daglight completions fish > ~/.config/fish/completions/daglight.fish")]
pub(crate) struct CompletionsArgs {
    /// The shell.
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ManArgs {
    /// The folder; it is made where it is not there.
    pub(crate) dir: PathBuf,
}
