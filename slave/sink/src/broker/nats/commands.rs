//! Commands of workers: one work queue a fleet, a subject and a consumer for each shard.

use std::{sync::Arc, time::Duration};

use async_nats::{
    HeaderMap, StatusCode, Subscriber,
    jetstream::{
        AckKind, Message,
        consumer::{AckPolicy, pull},
        context::PublishError,
        message::PublishMessage,
        stream::{Config, DiscardPolicy, RetentionPolicy},
    },
};
use baton_slave::Epoch;
use futures_util::StreamExt;
use tokio::{
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{Nats, declare::unbounded};
use crate::commands::{
    CommandsConfig, Keep, Letter, Place, Queue, Queues, Settlement, Taken, Wishes, WorkQueue,
    letter::{is_place, since},
    shards_for,
};

/// Without a sign of life a command is handed out again after this.
const IN_HAND: Duration = Duration::from_secs(10);
/// A request for the next command lasts so long.
const ASKS: Duration = Duration::from_secs(30);
/// A broker takes a request for one that is heard for so long after nobody hears it any more.
const LATE: Duration = Duration::from_millis(2500);
/// One whose end nobody heard of is made again after this much more.
const UNHEARD: Duration = Duration::from_secs(5);
/// Bytes of commands that wait, at most.
const ROOM: i64 = 64 << 20;
/// How often what does not work is tried again.
const AGAIN: Duration = Duration::from_millis(500);

/// The queue of a shard. One request for one command is under way at a time: what comes is
/// known here, and is given back in its order.
pub(crate) struct Pulled {
    nats: Arc<Nats>,
    /// Where requests go.
    subject: String,
    inbox: String,
    came: Subscriber,
    /// When the request under way is over.
    asked: Option<Instant>,
    revivals: watch::Receiver<()>,
}

/// A command.
pub(crate) struct InHand {
    nats: Arc<Nats>,
    message: Message,
}

impl Nats {
    fn commands(&self) -> String {
        format!("{}.commands", self.config.name)
    }

    /// The stream of commands, and in it the consumer of one subject.
    async fn pulls(self: &Arc<Self>, last: &str, in_hand: i64) -> Result<Pulled, String> {
        if !self.is_connected() {
            return Err("not connected".to_owned());
        }
        let longest = CommandsConfig::LONGEST;
        let wanted = Config {
            name: format!("{}-commands", self.config.name),
            description: Some("commands of workers, taken by Baton".to_owned()),
            subjects: vec![format!("{}.>", self.commands())],
            retention: RetentionPolicy::WorkQueue,
            discard: DiscardPolicy::New,
            max_bytes: ROOM,
            max_age: longest,
            duplicate_window: longest,
            num_replicas: self.config.bounds.replicas,
            ..unbounded()
        };
        let stream = self.stream(wanted).await?;
        let name = format!("gateway-{last}");
        let consumer = pull::Config {
            durable_name: Some(name.clone()),
            filter_subject: format!("{}.{last}", self.commands()),
            ack_policy: AckPolicy::Explicit,
            ack_wait: IN_HAND,
            max_ack_pending: in_hand,
            ..pull::Config::default()
        };
        let consumer = stream.get_or_create_consumer(&name, consumer).await;
        consumer.map_err(|error| error.to_string())?;
        let client = self.context.client();
        let inbox = client.new_inbox();
        let came = client.subscribe(inbox.clone()).await;
        let stream = format!("{}-commands", self.config.name);
        Ok(Pulled {
            nats: Arc::clone(self),
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{name}"),
            inbox,
            came: came.map_err(|error| error.to_string())?,
            asked: None,
            revivals: self.health.revivals(),
        })
    }

    /// Moves one command to the queues of the shards that it is for. Gives the reason, if it is
    /// for none.
    async fn sorts(&self, message: &Message, shards: u32) -> Result<(), String> {
        let shards = shards_for(&message.payload, shards)?;
        let mut headers = message.headers.clone().unwrap_or_default();
        let (mut sequence, mut sent) = (0, 0);
        if let Ok(info) = message.info() {
            sequence = info.stream_sequence;
            sent = unix_ms(info.published.unix_timestamp_nanos());
        }
        headers.insert("baton-sent", sent.to_string());
        for shard in shards {
            // One that was moved, and whose acknowledgement was lost, is not moved again.
            let publish = PublishMessage::build()
                .payload(message.payload.clone())
                .headers(headers.clone())
                .message_id(format!("any:{sequence}:{shard}"));
            let subject = format!("{}.{shard}", self.commands());
            while let Err(error) = self.moves(&subject, publish.clone()).await {
                tracing::debug!(%shard, %error, "a command is not at its shard yet");
                let _ = message.ack_with(AckKind::Progress).await;
                sleep(AGAIN).await;
            }
        }
        Ok(())
    }

    pub(super) async fn moves(
        &self,
        subject: &str,
        publish: PublishMessage,
    ) -> Result<(), PublishError> {
        let sent = self.context.send_publish(subject.to_owned(), publish).await;
        sent?.await.map(|_| ())
    }
}

fn unix_ms(nanos: i128) -> u64 {
    u64::try_from(nanos / 1_000_000).unwrap_or(0)
}

impl Queues for Nats {
    type Queue = Pulled;

    /// It is not told from others: what the one before has in hand comes when it is given back,
    /// or when its time is over.
    async fn claim(&self, _: WorkQueue) -> Result<Epoch, String> {
        Ok(Epoch::default())
    }

    async fn open(self: &Arc<Self>, place: Place, _: Epoch) -> Result<Pulled, String> {
        // Those that wait for their turn in a desk, and the one that the shard has.
        self.pulls(&place.to_string(), 64).await
    }

    async fn sort(self: Arc<Self>, shards: u32) {
        loop {
            // One at a time, whoever takes it: so their order is kept.
            match self.pulls("any", 1).await {
                Ok(mut queue) => {
                    while let Ok(taken) = queue.next().await {
                        let letter = taken.letter;
                        let done = match self.sorts(&letter.message, shards).await {
                            Ok(()) => letter.message.double_ack().await.map_err(|e| e.to_string()),
                            Err(reason) => letter
                                .settle(Settlement::of_no_shard(reason))
                                .await
                                .map(|_| ()),
                        };
                        if let Err(error) = done {
                            tracing::debug!(error, "a command comes again");
                        }
                    }
                }
                Err(error) => tracing::debug!(error, "commands for any shard wait"),
            }
            sleep(AGAIN).await;
        }
    }
}

impl Queue for Pulled {
    type Letter = InHand;

    const KEPT: Option<Duration> = Some(Duration::from_secs(3));

    async fn next(&mut self) -> Result<Taken<InHand>, String> {
        loop {
            let until = match self.asked {
                Some(until) => until,
                None => self.ask().await?,
            };
            tokio::select! {
                message = self.came.next() => {
                    let message = message.ok_or("the client is closed")?;
                    self.asked = None;
                    match message.status {
                        None => {
                            let nats = Arc::clone(&self.nats);
                            let context = nats.context.clone();
                            let message = Message { message, context };
                            return Ok(InHand { nats, message }.taken());
                        }
                        // Nothing came.
                        Some(StatusCode::TIMEOUT | StatusCode::NOT_FOUND) => {}
                        Some(status) => {
                            let why = message.description.unwrap_or_default();
                            return Err(format!("{status} {why}"));
                        }
                    }
                }
                // With its connection the request is gone.
                Ok(()) = self.revivals.changed() => self.asked = None,
                () = sleep_until(until) => self.asked = None,
            }
        }
    }

    async fn leave(mut self, held: Vec<InHand>) {
        let back = held.into_iter().map(|letter| letter.message);
        let mut back: Vec<Message> = back.collect();
        // A request that is under way is answered, also if nobody hears it any more: what is
        // given back first comes here, and is given back once more.
        if self.asked.is_some()
            && let Some(first) = back.first_mut()
        {
            let _ = first.ack_with(AckKind::Nak(None)).await;
            let number = |message: &Message| message.info().map_or(0, |info| info.stream_sequence);
            match self.late().await {
                Some(message) if number(&message) == number(first) => *first = message,
                Some(message) => back.push(message),
                None => {}
            }
        }
        for message in back {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
        if self.asked.is_some()
            && let Some(message) = self.late().await
        {
            let _ = message.ack_with(AckKind::Nak(None)).await;
        }
    }
}

impl Pulled {
    /// What answers the request that is under way.
    async fn late(&mut self) -> Option<Message> {
        let message = timeout(LATE, self.came.next()).await.ok()??;
        self.asked = None;
        let context = self.nats.context.clone();
        let is_one = message.status.is_none();
        is_one.then_some(Message { message, context })
    }

    async fn ask(&mut self) -> Result<Instant, String> {
        let until = Instant::now() + ASKS + UNHEARD;
        let wanted = serde_json::json!({"batch": 1, "expires": ASKS.as_nanos()}).to_string();
        let (subject, inbox) = (self.subject.clone(), self.inbox.clone());
        let client = self.nats.context.client();
        let asked = client.publish_with_reply(subject, inbox, wanted.into());
        asked.await.map_err(|error| error.to_string())?;
        self.asked = Some(until);
        Ok(until)
    }
}

impl InHand {
    fn taken(self) -> Taken<Self> {
        let headers = self.message.headers.clone().unwrap_or_default();
        let header = |name: &str| headers.get(name).map(|value| value.as_str().to_owned());
        let mut taken = Taken {
            id: None,
            is_named: true,
            is_again: false,
            age: Duration::ZERO,
            payload: self.message.payload.clone(),
            wishes: Wishes::read(header),
            letter: self,
        };
        if let Ok(info) = taken.letter.message.info() {
            let published = unix_ms(info.published.unix_timestamp_nanos());
            // A stream that was made anew counts from 1.
            taken.id = Some(format!("nats:{}:{published}", info.stream_sequence));
            taken.is_again = info.delivered > 1;
            let sent = header("baton-sent").and_then(|sent| sent.parse().ok());
            let sent = sent.unwrap_or(published);
            taken.age = since(sent);
        }
        taken
    }
}

impl Letter for InHand {
    async fn settle(self, how: Settlement) -> Result<Keep, String> {
        let headers = self.message.headers.clone().unwrap_or_default();
        if let Some(reason) = &how.refused {
            let from = self.message.subject.to_string();
            let payload = self.message.payload.clone();
            self.nats
                .is_dead(headers.clone(), &from, reason, payload)
                .await?;
        }
        self.message
            .double_ack()
            .await
            .map_err(|error| error.to_string())?;
        let answer = headers.get("baton-answer").map(ToString::to_string);
        let name = &self.nats.config.name;
        if let Some(place) = answer.filter(|place| is_place(place, name, '.', &["_INBOX."])) {
            let client = self.nats.context.client();
            // Who asked may be gone.
            let _ = client.publish(place, how.answer().into()).await;
        }
        Ok(Keep::Nothing)
    }

    async fn keep(&self) {
        let _ = self.message.ack_with(AckKind::Progress).await;
    }

    async fn give_back(self) {
        let _ = self.message.ack_with(AckKind::Nak(None)).await;
    }
}

impl Nats {
    /// A dead letter, with where it came from and why.
    async fn is_dead(
        &self,
        mut headers: HeaderMap,
        from: &str,
        reason: &str,
        payload: bytes::Bytes,
    ) -> Result<(), String> {
        self.dead_letters().await?;
        headers.insert("baton-from", from);
        headers.insert("baton-reason", reason);
        let subject = format!("{}.dead.{from}", self.config.name);
        let publish = PublishMessage::build().payload(payload).headers(headers);
        let moved = self.moves(&subject, publish).await;
        moved.map_err(|error| error.to_string())
    }

    /// The stream of dead letters: the oldest make room.
    pub(super) async fn dead_letters(
        &self,
    ) -> Result<async_nats::jetstream::stream::Stream, String> {
        let bounds = self.config.bounds;
        let wanted = Config {
            name: format!("{}-dead", self.config.name),
            description: Some("what no worker and no shard could take".to_owned()),
            subjects: vec![format!("{}.dead.>", self.config.name)],
            retention: RetentionPolicy::Limits,
            discard: DiscardPolicy::Old,
            max_bytes: i64::try_from(bounds.bytes / 16).unwrap_or(i64::MAX),
            max_age: bounds.age,
            duplicate_window: Duration::from_secs(120).min(bounds.age),
            num_replicas: bounds.replicas,
            ..unbounded()
        };
        self.stream(wanted).await
    }
}
