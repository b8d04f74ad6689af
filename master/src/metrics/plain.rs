//! The text format of Prometheus from before `OpenMetrics`: for clients that do not ask for
//! the newer one, such as `promtool check metrics` and many a script.

/// The type of what [`plain`] gives.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The same values. There a family is called as its samples are, ends of text and units are
/// not said, and an `info` is a gauge.
#[must_use]
pub fn plain(open: &str) -> String {
    let mut text = String::with_capacity(open.len());
    let mut help = None;
    for line in open.lines() {
        if let Some(about) = line.strip_prefix("# HELP ") {
            help = about.split_once(' ');
        } else if let Some((name, kind)) = type_of(line) {
            let (ending, kind) = match kind {
                "counter" => ("_total", kind),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                _ => ("", kind),
            };
            if let Some((_, about)) = help.take().filter(|(of, _)| *of == name) {
                text.push_str(&format!("# HELP {name}{ending} {about}\n"));
            }
            text.push_str(&format!("# TYPE {name}{ending} {kind}\n"));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

fn type_of(line: &str) -> Option<(&str, &str)> {
    line.strip_prefix("# TYPE ")?.split_once(' ')
}
