//! `GET /gateway/bot`: the answer, and the faults that stand in for it. Some of them stand in
//! for a websocket too.

use std::time::Duration;

use http::{HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use tokio::time::sleep;

use super::answers::{Answer, banned, empty, error, json as answer, page, unauthorized};
use crate::{
    counters::Count,
    faults::{Fault, FaultName, When},
    server::Shared,
};

/// What a proxy shows when nothing answers behind it.
const BROKEN: &str = "<!DOCTYPE html><html><head><title>Bad gateway</title></head>\
<body><h1>The web server reported an error</h1></body></html>";

/// Answers one request; `host` is what the client called this server.
pub(super) async fn gateway_bot(shared: &Shared, host: &str, authorized: bool) -> Answer {
    let mut response = if authorized {
        answer(StatusCode::OK, &truth(shared, host))
    } else {
        unauthorized()
    };
    for fault in shared.faults.take(When::GatewayBot, None) {
        tokio::select! {
            () = sleep(Duration::from_millis(fault.delay_ms)) => {}
            () = shared.stop.cancelled() => {}
        }
        if let Some(instead) = instead(&fault, || truth(shared, host)) {
            response = instead;
        }
    }
    let status = response.status().as_u16();
    shared.counters.add(None, Count::GatewayBot(status));
    response
}

/// What a request for a websocket gets instead of one, if a fault says so; `shard` is the one
/// in its URL.
pub(crate) fn instead_of_websocket(shared: &Shared, shard: Option<u32>) -> Option<Answer> {
    let faults = shared.faults.take(When::Upgrade, shard);
    let nothing = || Value::Null;
    let answer = faults.iter().find_map(|fault| instead(fault, nothing))?;
    let status = answer.status().as_u16();
    shared.counters.add(shard, Count::UpgradeRefused(status));
    Some(answer)
}

fn truth(shared: &Shared, host: &str) -> Value {
    let limit = shared.start_limit();
    json!({
        "url": format!("{}://{host}", shared.scheme()),
        "shards": shared.config.shards,
        "session_start_limit": {
            "total": limit.total,
            "remaining": limit.remaining,
            "reset_after": u64::try_from(limit.reset_after.as_millis()).unwrap_or(u64::MAX),
            "max_concurrency": limit.max_concurrency,
        },
    })
}

/// What the fault answers; `None` for one that belongs to a websocket.
fn instead(fault: &Fault, truth: impl FnOnce() -> Value) -> Option<Answer> {
    let instead = match fault.name.only_at()? {
        When::GatewayBot => fault.name,
        When::Now | When::Connect | When::Identify | When::Resume | When::Upgrade => return None,
    };
    Some(if instead == FaultName::Bot429 {
        let mut response = limited(fault);
        let seconds = fault.duration_ms.div_ceil(1000);
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        response
    } else if instead == FaultName::Bot429Body {
        limited(fault)
    } else if instead == FaultName::Bot429Bare {
        empty(StatusCode::TOO_MANY_REQUESTS)
    } else if instead == FaultName::Bot1015 {
        banned()
    } else if instead == FaultName::BotStatus {
        of_status(StatusCode::from_u16(fault.code).unwrap_or(StatusCode::BAD_GATEWAY))
    } else {
        let value = fault.value.clone().unwrap_or(Value::Null);
        if value.is_object() {
            let mut body = truth();
            merge(&mut body, value);
            answer(StatusCode::OK, &body)
        } else {
            answer(StatusCode::OK, &value)
        }
    })
}

fn limited(fault: &Fault) -> Answer {
    let retry_after = fault.duration().as_secs_f64();
    answer(
        StatusCode::TOO_MANY_REQUESTS,
        &json!({
            "message": "You are being rate limited.",
            "retry_after": retry_after,
            "global": false,
        }),
    )
}

fn of_status(status: StatusCode) -> Answer {
    if status == StatusCode::UNAUTHORIZED {
        unauthorized()
    } else if status.is_server_error() {
        page(status, BROKEN)
    } else {
        let message = status.canonical_reason().unwrap_or("Error");
        let message = format!("{}: {message}", status.as_u16());
        error(status, 0, &message)
    }
}

/// Puts every member of `change` into `into`; `null` removes one.
fn merge(into: &mut Value, change: Value) {
    let Value::Object(change) = change else {
        *into = change;
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    let Some(members) = into.as_object_mut() else {
        return;
    };
    for (name, value) in change {
        if value.is_null() {
            members.remove(&name);
        } else {
            merge(members.entry(name).or_insert(Value::Null), value);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::merge;

    #[test]
    fn a_change_reaches_into_the_answer_and_null_takes_away() {
        let mut answer = json!({"url": "u", "session_start_limit": {"total": 5, "remaining": 5}});
        merge(
            &mut answer,
            json!({"url": null, "shards": "many", "session_start_limit": {"remaining": 0}}),
        );
        let expected =
            json!({"shards": "many", "session_start_limit": {"total": 5, "remaining": 0}});
        assert_eq!(answer, expected);
    }
}
