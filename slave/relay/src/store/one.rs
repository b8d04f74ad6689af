//! One shard, in this process.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use baton_protocol::ShardId;
use baton_store::{Error, Options};
use serde_json::{Value, json};

use super::Verb;

/// Whoever looks maps files of any size.
const MOST: u64 = 1 << 40;

/// How often it is looked whether an owner answered.
const EVERY: Duration = Duration::from_millis(50);

/// What there is to say of a shard: `found` is `well`, `nothing`, `wrong`, `busy` or `failed`,
/// and `error` says why it is not well.
pub(super) fn answer(verb: &Verb, dir: &Path, shard: ShardId) -> Value {
    let options = Options::default().with_most(MOST);
    let said = match verb {
        Verb::Show(_) => show(dir, shard, options),
        Verb::Verify(_) => verify(dir, shard, options),
        Verb::Compact { wait, .. } => compact(dir, shard, options, *wait),
    };
    let mut said =
        said.unwrap_or_else(|error| json!({ "found": found(&error), "error": error.to_string() }));
    said["shard"] = json!(shard);
    said
}

fn found(error: &Error) -> &'static str {
    match error {
        Error::Absent { .. } => "nothing",
        Error::Damaged(_) | Error::Format { .. } => "wrong",
        Error::Busy | Error::Open { .. } | Error::Fenced { .. } | Error::Sealed => "busy",
        Error::Folder { .. }
        | Error::Namespace { .. }
        | Error::OtherSession
        | Error::Full(_)
        | Error::NoGuild(_)
        | Error::Resources(_)
        | Error::Io { .. }
        | Error::Engine(_) => "failed",
        // The enum may grow.
        _ => "failed",
    }
}

fn show(dir: &Path, shard: ShardId, options: Options) -> Result<Value, Error> {
    let shown = baton_store::show(dir, shard, options)?;
    let mut said = serde_json::to_value(shown).unwrap_or_default();
    said["found"] = json!("well");
    Ok(said)
}

fn verify(dir: &Path, shard: ShardId, options: Options) -> Result<Value, Error> {
    let verified = baton_store::verify(dir, shard, options)?;
    let is_well = verified.wrong.is_empty();
    let mut said = serde_json::to_value(verified).unwrap_or_default();
    said["found"] = json!(if is_well { "well" } else { "wrong" });
    Ok(said)
}

/// Does it, or has the owner do it.
fn compact(dir: &Path, shard: ShardId, options: Options, wait: Duration) -> Result<Value, Error> {
    let done = |before: u64, after: u64, by: &str| json!({"found": "well", "by": by, "before": before, "after": after});
    match baton_store::compact(dir, shard, options.clone()) {
        Ok(compacted) => return Ok(done(compacted.before, compacted.after, "this program")),
        Err(Error::Open { .. }) => {}
        Err(error) => return Err(error),
    }
    let before = baton_store::room(dir, shard, options.clone())?;
    baton_store::ask_to_compact(dir, shard)?;
    let began = Instant::now();
    while baton_store::is_compact_asked(dir, shard)? {
        if began.elapsed() >= wait {
            baton_store::take_back(dir, shard)?;
            return Ok(json!({
                "found": "busy",
                "error": "a process has it open and did not answer: it is no owner, or has much to do; \
                          try again, or wait longer (--wait)",
            }));
        }
        pause();
    }
    let after = baton_store::room(dir, shard, options)?;
    if after.generation == before.generation {
        return Ok(json!({
            "found": "failed",
            "error": "its owner could not do it, and its log says why",
        }));
    }
    Ok(done(before.bytes, after.bytes, "its owner"))
}

#[expect(
    clippy::disallowed_methods,
    reason = "this process has one thread and nothing else to do"
)]
fn pause() {
    std::thread::sleep(EVERY);
}
