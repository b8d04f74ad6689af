//! What a shell completes.

use std::process::Command;

#[test]
fn bash_completes_behind_the_first_word_too() {
    let master = env!("CARGO_BIN_EXE_baton-master");
    let completed = |words: &str| {
        let script = format!(
            "source <(\"$0\" completions bash); COMP_WORDS=({words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             function=$(complete -p baton-master | sed 's/.*-F \\([^ ]*\\).*/\\1/'); \
             \"$function\" baton-master \"${{COMP_WORDS[COMP_CWORD]}}\" x; echo \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &script, master]).output();
        String::from_utf8(output.expect("bash").stdout).expect("text")
    };
    assert!(completed("baton-master dep").contains("deploy"));
    assert!(completed("baton-master deploy --wi").contains("--width"));
    assert!(completed("baton-master journal ver").contains("verify"));
}
