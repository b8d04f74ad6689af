//! What EventSub sends: each message as one text.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::{
    chat::{PICTURE, Told},
    clock::rfc3339,
    eventsub::{session::Session, subscription::Subscription},
    ledger::Kind,
    state::State,
};

fn message(id: &str, kind: &str, payload: &Value) -> String {
    json!({
        "metadata": {
            "message_id": id,
            "message_type": kind,
            "message_timestamp": rfc3339(),
        },
        "payload": payload,
    })
    .to_string()
}

/// The first message of a session.
pub(crate) fn welcome(message_id: &str, id: &str, session: &Session) -> String {
    let session = json!({
        "id": id,
        "status": "connected",
        "connected_at": session.connected_at,
        "keepalive_timeout_seconds": session.keepalive,
        "reconnect_url": null,
        "recovery_url": null,
    });
    message(
        message_id,
        "session_welcome",
        &json!({ "session": session }),
    )
}

/// Nothing happened for a while.
pub(crate) fn keepalive(message_id: &str) -> String {
    message(message_id, "session_keepalive", &json!({}))
}

/// The client is to connect to this URL.
pub(crate) fn reconnect(message_id: &str, id: &str, connected_at: &str, url: &str) -> String {
    let session = json!({
        "id": id,
        "status": "reconnecting",
        "connected_at": connected_at,
        "keepalive_timeout_seconds": null,
        "reconnect_url": url,
        "recovery_url": null,
    });
    message(
        message_id,
        "session_reconnect",
        &json!({ "session": session }),
    )
}

/// A subscription has ended; its status says why.
pub(crate) fn revocation(message_id: &str, subscription: &Subscription) -> String {
    of_subscription(message_id, "revocation", subscription, None)
}

/// Something happened.
pub(crate) fn notification(message_id: &str, subscription: &Subscription, event: &Value) -> String {
    of_subscription(message_id, "notification", subscription, Some(event))
}

fn of_subscription(
    message_id: &str,
    kind: &str,
    subscription: &Subscription,
    event: Option<&Value>,
) -> String {
    let mut payload = json!({ "subscription": subscription.json() });
    if let Some(event) = event {
        payload["event"] = event.clone();
    }
    json!({
        "metadata": {
            "message_id": message_id,
            "message_type": kind,
            "message_timestamp": rfc3339(),
            "subscription_type": subscription.kind,
            "subscription_version": "1",
        },
        "payload": payload,
    })
    .to_string()
}

/// Something happened in a channel.
pub(crate) fn chat(subscription: &Arc<Subscription>, told: &Told<'_>, state: &mut State) -> String {
    let author = told.what.author.as_str();
    let id = told.author_id.to_string();
    let mut event = json!({
        "broadcaster_user_id": told.channel_id.to_string(),
        "broadcaster_user_login": told.channel_login,
        "broadcaster_user_name": told.channel_login,
    });
    let more = match told.what.kind {
        Kind::Message => json!({
            "chatter_user_id": id,
            "chatter_user_login": author,
            "chatter_user_name": author,
            "message_id": &*told.message.id,
            "message": said(&told.what.text),
            "message_type": "text",
            "color": "",
            "badges": [],
            "cheer": null,
            "reply": null,
            "channel_points_custom_reward_id": null,
            "channel_points_animation_id": null,
            "source_broadcaster_user_id": null,
            "source_broadcaster_user_login": null,
            "source_broadcaster_user_name": null,
            "source_message_id": null,
            "source_badges": null,
            "is_source_only": null,
        }),
        Kind::Sub | Kind::Raid => notice(told, &id),
        Kind::ClearChat => json!({
            "target_user_id": id,
            "target_user_login": author,
            "target_user_name": author,
        }),
        Kind::ClearMsg => {
            let own = (Arc::clone(&told.message.id), author.to_owned());
            let (deleted, by) = told.target.clone().unwrap_or(own);
            json!({
                "target_user_id": state.id_of(&by).to_string(),
                "target_user_login": by,
                "target_user_name": by,
                "message_id": &*deleted,
            })
        }
        Kind::Online => json!({
            "id": &*told.message.id,
            "type": "live",
            "started_at": rfc3339(),
        }),
    };
    if let (Value::Object(event), Value::Object(more)) = (&mut event, more) {
        event.extend(more);
    }
    let message_id = state.uuid();
    notification(&message_id, subscription, &event)
}

fn said(text: &str) -> Value {
    let fragment = json!({
        "type": "text",
        "text": text,
        "cheermote": null,
        "emote": null,
        "mention": null,
    });
    json!({ "text": text, "fragments": [fragment] })
}

/// A subscription or a raid; every other kind of notice is null.
fn notice(told: &Told<'_>, id: &str) -> Value {
    let author = told.what.author.as_str();
    let raid = told.what.kind == Kind::Raid;
    let sub = json!({ "sub_tier": "1000", "is_prime": false, "duration_months": 1 });
    let raided = json!({
        "user_id": id,
        "user_login": author,
        "user_name": author,
        "viewer_count": 5,
        "profile_image_url": PICTURE,
    });
    let mut notice = json!({
        "chatter_user_id": id,
        "chatter_user_login": author,
        "chatter_user_name": author,
        "chatter_is_anonymous": false,
        "color": "",
        "badges": [],
        "system_message": if raid { "5 raiders have joined!" } else { "subscribed at Tier 1." },
        "message_id": &*told.message.id,
        "message": said(&told.what.text),
        "notice_type": if raid { "raid" } else { "sub" },
        "sub": if raid { Value::Null } else { sub },
        "raid": if raid { raided } else { Value::Null },
    });
    let others = [
        "resub",
        "sub_gift",
        "community_sub_gift",
        "gift_paid_upgrade",
        "prime_paid_upgrade",
        "unraid",
        "pay_it_forward",
        "announcement",
        "bits_badge_tier",
        "charity_donation",
        "source_broadcaster_user_id",
        "source_broadcaster_user_login",
        "source_broadcaster_user_name",
        "source_message_id",
        "source_badges",
    ];
    for other in others {
        notice[other] = Value::Null;
    }
    notice
}
