//! Both managers, over real files.

mod converging;
mod layouts;
mod managers;
mod reconciling;
mod requests;

use super::*;
use crate::{Login, UserId};

fn login(text: &str) -> Login {
    text.parse().expect("a login")
}

fn wanted(text: &str) -> Wanted {
    Wanted::new(login(text))
}

fn grant(text: &str, reconnect: Reconnect) -> Grant {
    Grant {
        login: login(text),
        id: None,
        reconnect,
    }
}

fn goal(manager: &dyn Manager) -> Vec<String> {
    let goal = manager.goal().expect("it is read");
    goal.into_iter()
        .map(|wanted| wanted.login.to_string())
        .collect()
}

fn unit(index: u32) -> Unit {
    Unit::new(login("bot"), index)
}

/// Each line is a unit with what it parts and joins: `bot/0 -a +b`.
fn lines(deltas: &Deltas) -> Vec<String> {
    let units = deltas.by_unit().iter();
    let line = |(unit, delta): (&Unit, &Delta)| {
        let parts = delta.part.iter().map(|channel| format!(" -{channel}"));
        let joins = delta.join.iter().map(|channel| format!(" +{channel}"));
        format!("{unit}{}", parts.chain(joins).collect::<String>())
    };
    units.map(line).collect()
}
