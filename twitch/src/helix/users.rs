//! Users by their logins and ids.

use serde::Deserialize;

use super::{Error, Helix, conduits::data, request::Ask};
use crate::name::{Login, UserId};

/// Users in one request, at most.
const AT_ONCE: usize = 100;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct User {
    /// Stays.
    pub id: UserId,
    /// May change.
    pub login: Login,
}

impl Helix {
    /// The users with these logins, as far as there are any: a request for each 100.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn users(&self, logins: &[Login]) -> Result<Vec<User>, Error> {
        let mut users = Vec::new();
        for some in logins.chunks(AT_ONCE) {
            let query: Vec<String> = some.iter().map(|login| format!("login={login}")).collect();
            let answer = self
                .ask(&Ask::get(&format!("/users?{}", query.join("&"))))
                .await?;
            users.extend(data::<User>(&answer)?);
        }
        Ok(users)
    }
}
