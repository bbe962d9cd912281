//! What a child process is told of our environment: what it needs, and no secret that happens to lie there.

use std::ffi::OsStr;
use std::process::Command;

/// What any program needs: where programs, libraries and temporary files are, and in which language and time zone it works.
const COMMON: &[&str] = &[
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_*",
    "TZ",
    "TMPDIR",
    "TMP",
    "TEMP",
    "LD_LIBRARY_PATH",
    "DYLD_*",
    "SYSTEMROOT",
    "SYSTEMDRIVE",
    "WINDIR",
    "COMSPEC",
    "PATHEXT",
    "USERPROFILE",
    "APPDATA",
    "LOCALAPPDATA",
    "PROGRAMDATA",
    "PROGRAMFILES*",
    "NUMBER_OF_PROCESSORS",
    "PROCESSOR_*",
];

/// What Python and pip need beyond that: where they are, and how they reach their package index.
const PYTHON: &[&str] = &[
    "PYTHON*",
    "PYENV*",
    "PIP_*",
    "VIRTUAL_ENV",
    "CONDA_*",
    "XDG_*",
    "NETRC",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "SSL_CERT_*",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
];

/// Starts the program with what any program needs, out of reach of what is sent to the group of this process: Ctrl-C, or a supervisor's
/// signal to all it started. The program would end at once, under runs that have been given time to end.
pub(super) fn plain(command: &mut Command) -> &mut Command {
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    #[cfg(windows)]
    std::os::windows::process::CommandExt::creation_flags(command, NEW_PROCESS_GROUP);
    with(command, &[COMMON])
}

/// `CREATE_NEW_PROCESS_GROUP` of Windows.
#[cfg(windows)]
const NEW_PROCESS_GROUP: u32 = 0x200;

/// Starts Python or pip.
pub(super) fn python(command: &mut Command) -> &mut Command {
    with(command, &[COMMON, PYTHON])
}

fn with<'a>(command: &'a mut Command, lists: &[&[&str]]) -> &'a mut Command {
    command.env_clear().envs(std::env::vars_os().filter(|(name, _)| lists.iter().any(|list| is_in(list, name))))
}

fn is_in(list: &[&str], name: &OsStr) -> bool {
    // Windows does not care for case, and proxies are named in either.
    let Some(name) = name.to_str().map(str::to_ascii_uppercase) else { return false };
    list.iter().any(|known| match known.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == *known,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_gets_what_it_needs_and_nothing_else() {
        let mut command = Command::new("program");
        python(&mut command);
        let told: Vec<String> = command.get_envs().map(|(name, _)| name.to_string_lossy().into_owned()).collect();
        assert!(told.iter().any(|name| name.eq_ignore_ascii_case("PATH")));
        // Cargo sets these for every test.
        assert!(!told.iter().any(|name| name.starts_with("CARGO")), "{told:?}");
        for (name, common) in
            [("LC_ALL", true), ("https_proxy", false), ("KT_API_KEY", false), ("PATH_TO_SECRET", false)]
        {
            assert_eq!(is_in(COMMON, OsStr::new(name)), common, "{name}");
        }
        assert!(is_in(PYTHON, OsStr::new("https_proxy")));
    }
}
