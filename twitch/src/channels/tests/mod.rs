//! Both managers, over real files.

mod managers;

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
