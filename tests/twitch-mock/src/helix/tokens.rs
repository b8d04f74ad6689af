//! OAuth: tokens of the application and of users.

use axum::{extract::Query, http::Uri};
use serde_json::json;
use tokio::time::Instant;

use crate::{
    helix::{Reply, Request, authorize},
    state::{Shared, State},
};

/// Tokens that are kept.
const TOKENS: usize = 10_000;
/// What the user tokens here may do.
const SCOPES: [&str; 5] = [
    "chat:edit",
    "chat:read",
    "user:bot",
    "user:read:chat",
    "user:write:chat",
];

/// A token.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) client_id: String,
    /// The login, if it is not the application's.
    pub(crate) user: Option<String>,
    /// What it may do.
    pub(crate) scopes: Vec<String>,
    expires: Option<Instant>,
}

/// The token of a request: an application's, a known account's, or `user-LOGIN`.
pub(crate) fn find(shared: &Shared, state: &State, token: &str) -> Option<Token> {
    let valid = |token: &&Token| token.expires.is_none_or(|at| Instant::now() < at);
    if let Some(token) = state.tokens.get(token) {
        return Some(token.clone()).filter(|token| valid(&token));
    }
    let of_user = |login: &str| Token {
        client_id: shared.config.client_id.clone(),
        user: Some(login.to_owned()),
        scopes: all_scopes(),
        expires: None,
    };
    let mut accounts = shared.config.accounts.iter();
    if let Some(account) = accounts.find(|account| account.token == token) {
        return Some(of_user(&account.login));
    }
    let login = token.strip_prefix("user-")?;
    let open = shared.config.open_accounts && crate::config::is_login(login);
    open.then(|| of_user(login))
}

fn all_scopes() -> Vec<String> {
    SCOPES.map(str::to_owned).to_vec()
}

/// What a form has.
pub(crate) fn pairs_of(form: &str) -> Vec<(String, String)> {
    let uri: Result<Uri, _> = format!("/?{}", form.trim()).parse();
    let pairs = uri.ok().and_then(|uri| Query::try_from_uri(&uri).ok());
    pairs.map_or_else(Vec::new, |Query(pairs)| pairs)
}

/// Nobody has a token of this user any more: it has taken back what it granted.
pub(crate) fn forget(state: &mut State, login: &str) {
    state
        .tokens
        .retain(|_, token| token.user.as_deref() != Some(login));
    state.refreshes.retain(|_, (user, _)| user != login);
    state.codes.retain(|_, granted| granted.login != login);
}

/// The token after `Bearer` or `OAuth`.
pub(crate) fn bare(header: &str) -> &str {
    let word = header.split_once(' ');
    word.map_or(header, |(_, token)| token.trim())
}

/// `POST /oauth2/token`: client credentials, or a user's code or refresh token. Beside those
/// that were given out there are `code-LOGIN` and `refresh-LOGIN`, for clients without a browser.
pub(crate) fn grant(shared: &Shared, state: &mut State, request: &Request) -> Reply {
    let form = if request.body.is_empty() {
        request.query.clone()
    } else {
        pairs_of(&request.body)
    };
    let field = |name: &str| {
        let mut fields = form.iter().filter(|(key, _)| key == name);
        fields.next().map_or("", |(_, value)| value.as_str())
    };
    let config = &shared.config;
    if field("client_id") != config.client_id {
        return Reply::oauth_error(400, "invalid client");
    }
    let secret = field("client_secret");
    let fits = match &config.client_secret {
        Some(known) => known == secret,
        None => !secret.is_empty(),
    };
    if !fits {
        return Reply::oauth_error(403, "invalid client secret");
    }
    let of_login = |login: Option<&str>| login.map(|login| (login.to_owned(), all_scopes()));
    let user = match field("grant_type") {
        "client_credentials" => None,
        "authorization_code" => {
            let code = field("code");
            let granted = authorize::fetch(state, code, field("redirect_uri"));
            let granted = granted.map(|granted| (granted.login, granted.scopes));
            granted.or_else(|| of_login(code.strip_prefix("code-")))
        }
        "refresh_token" => {
            let token = field("refresh_token");
            let known = state.refreshes.get(token).cloned();
            known.or_else(|| of_login(token.strip_prefix("refresh-")))
        }
        _ => return Reply::oauth_error(400, "unsupported grant type"),
    };
    if user.is_none() && field("grant_type") != "client_credentials" {
        return Reply::oauth_error(400, "Invalid authorization code");
    }
    if state.tokens.len() >= TOKENS {
        state.tokens.pop_first();
    }
    let text = format!("token-{}", state.uuid());
    let token = Token {
        client_id: config.client_id.clone(),
        user: user.as_ref().map(|(login, _)| login.clone()),
        scopes: user
            .as_ref()
            .map_or_else(Vec::new, |(_, scopes)| scopes.clone()),
        expires: Some(Instant::now() + config.helix.token_lifetime),
    };
    let mut answer = json!({
        "access_token": text,
        "expires_in": config.helix.token_lifetime.as_secs(),
        "token_type": "bearer",
    });
    if let Some((login, scopes)) = user {
        answer["scope"] = json!(scopes);
        if state.refreshes.len() >= TOKENS {
            state.refreshes.pop_first();
        }
        let refresh = format!("again-{}", state.uuid());
        answer["refresh_token"] = refresh.clone().into();
        state.refreshes.insert(refresh, (login, scopes));
    }
    state.tokens.insert(text, token);
    Reply::json(200, answer)
}

/// `GET /oauth2/validate`.
pub(crate) fn validate(shared: &Shared, state: &State, request: &Request) -> Reply {
    let token = request.authorization.as_deref().map(bare);
    let Some(token) = token.and_then(|token| find(shared, state, token)) else {
        return Reply::oauth_error(401, "invalid access token");
    };
    let left = token.expires.map_or(0, |at| {
        at.saturating_duration_since(Instant::now()).as_secs()
    });
    let mut answer = json!({
        "client_id": token.client_id,
        "scopes": [],
        "expires_in": left,
    });
    if let Some(login) = &token.user {
        answer["login"] = login.as_str().into();
        answer["user_id"] = state.id_of(login).to_string().into();
        answer["scopes"] = json!(token.scopes);
    }
    Reply::json(200, answer)
}
