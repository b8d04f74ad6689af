//! Limits of the REST interface. Sources: "Rate Limits" of Discord's documentation
//! for the global limit, the headers, and the ban of an address with 10,000 invalid
//! requests in ten minutes. It does not document the size of buckets, so that is a
//! setting.

use std::{collections::BTreeMap, time::Duration};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;

use super::answers::{self, Answer};
use crate::config::DiscordConfig;

/// The window of the global limit.
const SECOND: Duration = Duration::from_secs(1);
/// The window of the limit of invalid requests.
const INVALID_WINDOW: Duration = Duration::from_secs(600);
/// Buckets that are remembered.
const BUCKETS: usize = 50_000;

/// See the module.
#[derive(Debug)]
pub(crate) struct RestLimits {
    global: Window,
    bucket: (u32, Duration),
    buckets: BTreeMap<String, Window>,
    invalid: Window,
}

/// So many in a time that begins with the first.
#[derive(Clone, Debug)]
struct Window {
    /// 0 = no limit.
    limit: u32,
    length: Duration,
    used: u32,
    since: Instant,
}

impl Window {
    fn new(limit: u32, length: Duration) -> Self {
        Self {
            limit,
            length,
            used: 0,
            since: Instant::now(),
        }
    }

    fn renew(&mut self) {
        if self.since.elapsed() >= self.length {
            self.used = 0;
            self.since = Instant::now();
        }
    }

    fn take(&mut self) -> bool {
        self.renew();
        let free = self.limit == 0 || self.used < self.limit;
        self.used = self.used.saturating_add(u32::from(free));
        free
    }

    fn is_used_up(&mut self) -> bool {
        self.renew();
        self.limit > 0 && self.used >= self.limit
    }

    fn rest(&self) -> Duration {
        self.length.saturating_sub(self.since.elapsed())
    }
}

/// Whether a request may be carried out, and what its headers say.
#[derive(Debug)]
pub(super) struct Permit {
    refused: Option<Scope>,
    bucket: Option<(String, Window)>,
    retry_after: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Global,
    User,
}

impl RestLimits {
    pub(crate) fn new(config: &DiscordConfig) -> Self {
        Self {
            global: Window::new(config.rest_per_second, SECOND),
            bucket: (config.rest_bucket, config.rest_bucket_window),
            buckets: BTreeMap::new(),
            invalid: Window::new(config.invalid_requests, INVALID_WINDOW),
        }
    }

    /// Counts an answer that a client should not go on to provoke.
    pub(super) fn answered(&mut self, status: StatusCode) {
        let invalid = [
            StatusCode::UNAUTHORIZED,
            StatusCode::FORBIDDEN,
            StatusCode::TOO_MANY_REQUESTS,
        ];
        if invalid.contains(&status) {
            self.invalid.take();
        }
    }

    pub(super) fn is_banned(&mut self) -> bool {
        self.invalid.is_used_up()
    }

    /// Asks for one request. Those about an interaction are free.
    pub(super) fn ask(&mut self, method: &Method, path: &[String]) -> Permit {
        if path.first().is_some_and(|first| first == "interactions") {
            return Permit::free();
        }
        if !self.global.take() {
            return Permit {
                refused: Some(Scope::Global),
                bucket: None,
                retry_after: self.global.rest(),
            };
        }
        let Some(name) = bucket_of(method, path).filter(|_| self.bucket.0 > 0) else {
            return Permit::free();
        };
        if self.buckets.len() >= BUCKETS {
            let length = self.bucket.1;
            self.buckets.retain(|_, w| w.since.elapsed() < length);
        }
        let (limit, length) = self.bucket;
        let window = self
            .buckets
            .entry(name.clone())
            .or_insert_with(|| Window::new(limit, length));
        let granted = window.take();
        Permit {
            refused: (!granted).then_some(Scope::User),
            retry_after: window.rest(),
            bucket: Some((name, window.clone())),
        }
    }
}

/// The method, the route, and the channel, guild or webhook; `None` for a route
/// without one.
fn bucket_of(method: &Method, path: &[String]) -> Option<String> {
    let (first, major) = (path.first()?, path.get(1)?);
    if !matches!(first.as_str(), "channels" | "guilds" | "webhooks") {
        return None;
    }
    let route: Vec<&str> = path[2..]
        .iter()
        .map(|part| match part.parse::<u64>() {
            Ok(_) => "id",
            Err(_) => part.as_str(),
        })
        .collect();
    // One bucket for all emoji.
    let upto = route.iter().position(|p| *p == "reactions");
    let route = &route[..upto.map_or(route.len(), |at| at + 1)];
    Some(format!("{method} {first}/{major}/{}", route.join("/")))
}

impl Permit {
    pub(super) const fn free() -> Self {
        Self {
            refused: None,
            bucket: None,
            retry_after: Duration::ZERO,
        }
    }

    pub(super) const fn is_granted(&self) -> bool {
        self.refused.is_none()
    }

    /// 429.
    pub(super) fn refusal(&self) -> Answer {
        answers::json(
            StatusCode::TOO_MANY_REQUESTS,
            &json!({
                "message": "You are being rate limited.",
                "retry_after": self.retry_after.as_secs_f64(),
                "global": self.refused == Some(Scope::Global),
            }),
        )
    }

    pub(super) fn write_into(&self, headers: &mut HeaderMap) {
        let mut put = |name: &'static str, value: String| {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        let after = self.retry_after.as_secs_f64();
        if let Some((name, window)) = &self.bucket {
            let now = crate::clock::unix_ms() as f64 / 1000.0;
            put("x-ratelimit-limit", window.limit.to_string());
            let left = window.limit.saturating_sub(window.used);
            put("x-ratelimit-remaining", left.to_string());
            put("x-ratelimit-reset-after", format!("{after:.3}"));
            put("x-ratelimit-reset", format!("{:.3}", now + after));
            let bucket = crate::id::Fingerprint::of(name);
            put("x-ratelimit-bucket", bucket.to_string());
        }
        match self.refused {
            Some(Scope::Global) => {
                put("x-ratelimit-global", "true".to_owned());
                put("x-ratelimit-scope", "global".to_owned());
            }
            Some(Scope::User) => put("x-ratelimit-scope", "user".to_owned()),
            None => return,
        }
        let seconds = self.retry_after.as_secs_f64().ceil() as u64;
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)));
    }
}

#[cfg(test)]
mod tests {
    use http::{Method, StatusCode};
    use tokio::time::advance;

    use super::{DiscordConfig, Duration, RestLimits};

    fn path(text: &str) -> Vec<String> {
        text.split('/').map(str::to_owned).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_is_of_one_channel_and_renewed_after_its_window() {
        let mut limits = RestLimits::new(&DiscordConfig::default());
        let mut post = |to: &str| limits.ask(&Method::POST, &path(to)).is_granted();
        for _ in 0..5 {
            assert!(post("channels/1/messages"));
        }
        assert!(!post("channels/1/messages"));
        assert!(post("channels/2/messages"), "another channel");
        assert!(post("channels/1/typing"), "another route");
        advance(Duration::from_secs(5)).await;
        assert!(post("channels/1/messages"));
    }

    #[tokio::test(start_paused = true)]
    async fn fifty_requests_a_second_and_ten_thousand_invalid_ones_are_the_end() {
        let mut limits = RestLimits::new(&DiscordConfig::default());
        for user in 0..50 {
            let to = path(&format!("users/{user}"));
            assert!(limits.ask(&Method::GET, &to).is_granted());
        }
        assert!(!limits.ask(&Method::GET, &path("users/1")).is_granted());
        let free = path("interactions/1/t/callback");
        assert!(limits.ask(&Method::POST, &free).is_granted());
        for _ in 0..10_000 {
            assert!(!limits.is_banned());
            limits.answered(StatusCode::OK);
            limits.answered(StatusCode::UNAUTHORIZED);
        }
        assert!(limits.is_banned());
        advance(Duration::from_secs(600)).await;
        assert!(!limits.is_banned());
    }
}
