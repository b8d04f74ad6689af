//! `deploy --all`: a line for each slot that begins and ends.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{started, text};
use crate::{
    admin::client::Events,
    cli::say,
    error::{EXIT_DONE, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_LOSSES, Error},
};

/// Shows it until it is over, or until the operator stops watching.
pub(super) async fn follow(events: &mut Events, accepted: &Value, json: bool) -> Result<u8, Error> {
    let line = |line: &str| {
        if !json {
            say(line);
        }
    };
    let first = accepted["deploy"].as_u64().unwrap_or(0);
    let mut slots: BTreeMap<u64, String> = BTreeMap::new();
    let mut lost = false;
    loop {
        let event = tokio::select! {
            event = events.next() => event,
            enough = tokio::signal::ctrl_c() => {
                enough.map_err(|error| Error::system("signals", error))?;
                line("it goes on; baton-master status shows it, baton-master abort stops it");
                return Ok(EXIT_INTERRUPTED);
            }
        };
        let Some(event) = event else {
            break;
        };
        if json {
            say(&event.to_string());
        }
        let number = event["deploy"].as_u64();
        match (text(&event["type"]), number) {
            ("deploy_accepted", Some(deploy)) if deploy >= first => {
                let slot = text(&event["slot"]).to_owned();
                if deploy == first {
                    started(accepted).iter().for_each(|said| line(said));
                } else {
                    line(&format!("deploy {deploy} of slot {slot}"));
                }
                slots.insert(deploy, slot);
            }
            ("deploy_step", Some(deploy)) => {
                if let Some(slot) = slots.get(&deploy) {
                    line(&format!("  slot {slot}: {}", text(&event["step"])));
                }
            }
            ("deploy_ended", Some(deploy)) => {
                if let Some(slot) = slots.get(&deploy) {
                    line(&format!("  slot {slot}: {}", text(&event["text"])));
                    let some = |key: &str| event[key].as_u64().unwrap_or(0) > 0;
                    lost |= some("sessions_lost") || some("events_given_up");
                }
            }
            ("alarm", _) => line(&format!("  ALARM: {}", text(&event["detail"]))),
            ("missed", _) => {
                return Err(Error::Failed(
                    "some of what happened was missed, and it may be over; `baton-master status` \
                     shows which slot has which build"
                        .to_owned(),
                ));
            }
            ("rollout_ended", _) => return Ok(ended(&event, lost, &line)),
            _ => {}
        }
    }
    Err(Error::Failed(format!(
        "the master {}, and the deploy of all slots ends with it; its slaves keep serving. \
         `baton-master status` shows which slot has which build",
        events.end()
    )))
}

fn ended(event: &Value, lost: bool, line: &dyn Fn(&str)) -> u8 {
    let list = |key: &str| {
        let names = event[key].as_array().map_or(&[][..], Vec::as_slice);
        let names: Vec<_> = names.iter().filter_map(Value::as_str).collect();
        match names.is_empty() {
            true => "none".to_owned(),
            false => names.join(", "),
        }
    };
    if event["outcome"] != "done" {
        line(&format!("stopped: {}", text(&event["reason"])));
        line(&format!("  the new build have: {}", list("done")));
        line(&format!("  not begun: {}", list("left")));
        line("next: repair the build and deploy --all again, or baton-master rollback --slot NAME");
        return EXIT_FAILED;
    }
    line(&format!("every slot has the new build: {}", list("done")));
    match lost {
        true => EXIT_LOSSES,
        false => EXIT_DONE,
    }
}
