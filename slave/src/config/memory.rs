//! A limit of memory, as an operator writes it.

/// No process of a bot is smaller: a smaller limit is a mistake of the unit.
const LEAST: u64 = 1 << 20;

/// Reads bytes: a number, as a rule with `K`, `M` or `G` behind it, of 1,024 each; 1 MiB at least.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn parse_memory(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is no amount of memory: give 512M or 2G, for example");
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" | "KiB" => 10,
        "M" | "MiB" => 20,
        "G" | "GiB" => 30,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    match number.checked_mul(1 << shift) {
        Some(bytes) if bytes >= LEAST => Ok(bytes),
        Some(_) | None => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_has_its_unit_and_what_cannot_be_meant_is_refused() {
        assert_eq!(parse_memory("512M"), Ok(512 << 20));
        assert_eq!(parse_memory("2GiB"), Ok(2 << 30));
        assert_eq!(parse_memory("2048K"), Ok(2 << 20));
        assert_eq!(parse_memory("1048576"), Ok(1 << 20));
        for wrong in [
            "",
            "M",
            "512",
            "512m",
            "-1G",
            "1.5G",
            "1K",
            "99999999999G",
            "1\u{e9}M",
        ] {
            let why = parse_memory(wrong).expect_err("it is refused");
            assert!(why.contains("512M"), "{why}");
        }
    }
}
