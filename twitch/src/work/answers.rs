//! What operators ask, and what they are answered.

use std::time::Duration;

use serde_json::{Value, json};

use super::{
    desk::{Open, Ways, unix},
    question::{Answer, Question, Verb, row, rows},
};
use crate::{
    channels::{Change, Grant, Reconnect, Want, Wanted},
    name::Login,
    outbox::{By, Message, Put},
};

/// Rows of one answer.
const A_PAGE: usize = 1000;

impl Open {
    pub(super) async fn answer(
        &mut self,
        question: Question,
        channels: Vec<Login>,
    ) -> Result<Value, String> {
        match question.verb {
            Verb::List => self.lists(question.after).await,
            Verb::Where => self.wheres(channels).await,
            Verb::Join => self.joins(channels, question.account).await,
            Verb::Part => self.parts(channels).await,
            Verb::Authorise => self.authorises(channels).await,
            Verb::Revoke => self.revokes(channels).await,
            Verb::Acknowledge => self.acknowledges(channels).await,
            Verb::Say => self.says(question, &channels).await,
            // A unit answers that: see `writing`.
            Verb::Write => Err("a line is written by a unit".to_owned()),
            Verb::Units => self.units(question.units, question.auto).await,
        }
    }

    async fn lists(&self, after: Option<Login>) -> Result<Value, String> {
        let all = self
            .list
            .with(move |list| list.list(after.as_ref(), A_PAGE))
            .await?;
        let more = (all.len() == A_PAGE).then(|| all.last().map(|last| last.login.clone()));
        let shown = all.iter().map(|channel| {
            let mut shown = self.row_of(&channel.login);
            if !channel.wanted {
                shown["state"] = json!("left");
                shown["why"] = Value::Null;
            } else if self.manages && !channel.is_authorised() {
                shown["state"] = json!("unauthorised");
                shown["why"] = json!("its broadcaster has not let the bot in");
            }
            shown["authorised"] = json!(channel.is_authorised());
            shown["account"] = json!(channel.account);
            shown["acknowledged_unix"] = json!(channel.acknowledged_at.0);
            shown
        });
        let mut answer = rows(shown.collect());
        answer["after"] = json!(more.flatten());
        Ok(answer)
    }

    /// One that is not to be joined is not on its way.
    async fn wheres(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        self.look_at_list().await?;
        let goal = self.of_goal(&channels);
        let rows_of = channels.iter().map(|channel| {
            let mut shown = self.row_of(channel);
            if shown["state"] != "joined" && !goal.contains(channel) {
                shown["state"] = json!("left");
                let why = "it is not to be joined: see channels list";
                shown["why"] = json!(why);
            }
            shown
        });
        Ok(rows(rows_of.collect()))
    }

    pub(super) fn row_of(&self, channel: &Login) -> Value {
        let (state, unit, why) = match &self.ways {
            Ways::Irc(way) => way.find(channel),
            Ways::Conduit(way) => {
                let (state, why) = way.find(channel);
                (state, None, why)
            }
        };
        json!({ "channel": channel, "state": state, "unit": unit, "why": why })
    }

    fn again(&mut self, channel: &Login) {
        match &mut self.ways {
            Ways::Irc(way) => way.again(channel),
            Ways::Conduit(way) => way.again(channel),
        }
    }

    async fn joins(
        &mut self,
        channels: Vec<Login>,
        account: Option<Login>,
    ) -> Result<Value, String> {
        let now = unix();
        let wanted: Vec<Wanted> = channels
            .iter()
            .map(|login| Wanted {
                account: account.clone(),
                ..Wanted::new(login.clone())
            })
            .collect();
        let wants = self.list.with(move |list| list.want(&wanted, now)).await?;
        let mut answers = Vec::new();
        for channel in &channels {
            let (answer, why) = match wants.get(channel) {
                Some(Want::New) => (Answer::Resolved, None),
                Some(Want::Already) => (Answer::Ignored, None),
                Some(Want::Unauthorised) => (
                    Answer::Unauthorised,
                    Some("its broadcaster has not let the bot in"),
                ),
                Some(Want::Full) | None => (Answer::Rejected, Some("the list is full")),
            };
            // Whoever asks for it wants it tried now.
            self.again(channel);
            answers.push(row(channel, answer, why));
        }
        self.look_after().await?;
        // What has no room is known only now.
        for answer in &mut answers {
            let Some(Ok(channel)) = answer["channel"].as_str().map(str::parse::<Login>) else {
                continue;
            };
            let found = self.row_of(&channel);
            if answer["answer"] == "resolved" && found["state"] == "waiting" {
                let why = found["why"].as_str();
                *answer = row(
                    &channel,
                    Answer::Rejected,
                    Some(why.unwrap_or("it waits for room")),
                );
            }
        }
        Ok(rows(answers))
    }

    async fn parts(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let named = channels.clone();
        let left = self.list.with(move |list| list.unwant(&named)).await?;
        self.look_after().await?;
        let answers = channels.iter().map(|channel| {
            let answer = match left.contains(channel) {
                true => Answer::Resolved,
                false => Answer::Ignored,
            };
            row(channel, answer, None)
        });
        Ok(rows(answers.collect()))
    }

    async fn authorises(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let now = unix();
        let mut answers = Vec::new();
        for channel in channels {
            let grant = Grant {
                login: channel.clone(),
                id: None,
                reconnect: Reconnect::Yes,
            };
            let change = self
                .list
                .with(move |list| list.authorise(&grant, now))
                .await?;
            self.again(&channel);
            answers.push(changed(&channel, change));
        }
        self.look_after().await?;
        Ok(rows(answers))
    }

    async fn revokes(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let now = unix();
        let mut answers = Vec::new();
        for channel in channels {
            let name = channel.clone();
            let change = self.list.with(move |list| list.revoke(&name, now)).await?;
            answers.push(changed(&channel, change));
        }
        self.look_after().await?;
        Ok(rows(answers))
    }

    async fn acknowledges(&mut self, channels: Vec<Login>) -> Result<Value, String> {
        let now = unix();
        let mut answers = Vec::new();
        for channel in channels {
            let name = channel.clone();
            let known = self
                .list
                .with(move |list| list.acknowledge(&name, now))
                .await?;
            let (answer, why) = match known {
                true => (Answer::Resolved, None),
                false => (Answer::Rejected, Some("the list does not have it")),
            };
            answers.push(row(&channel, answer, why));
        }
        Ok(rows(answers))
    }

    /// The bot is to say something in channels.
    async fn says(&mut self, question: Question, channels: &[Login]) -> Result<Value, String> {
        let puts = self.puts(question, channels, None).await?;
        let answers = puts.into_iter().map(|(channel, _, put)| match put {
            Ok(Put::Taken) => row(&channel, Answer::Resolved, None),
            Ok(Put::Known) => row(&channel, Answer::Ignored, None),
            Ok(Put::Refused(why)) => row(&channel, Answer::Rejected, Some(&why.to_string())),
            Err(why) => row(&channel, Answer::Unauthorised, Some(why)),
        });
        Ok(rows(answers.collect()))
    }

    /// The account that reads a channel, where the list names one.
    async fn reader(&self, channel: &Login) -> Result<Option<Login>, String> {
        let name = channel.clone();
        let known = self.list.with(move |list| list.get(&name)).await?;
        Ok(known.and_then(|channel| channel.account))
    }

    /// Puts a message for each of these channels into the outbox: its channel, its id there, and
    /// what became of it; an error: the broadcaster does not let the bot in.
    ///
    /// # Errors
    /// What is wrong with all of them, for a person.
    pub(super) async fn puts(
        &self,
        question: Question,
        channels: &[Login],
        ttl: Option<Duration>,
    ) -> Result<Vec<(Login, String, Result<Put, &'static str>)>, String> {
        let Some(speech) = self.speech.clone() else {
            return Err("this bot does not speak: give baton-twitch --account".to_owned());
        };
        let id = question
            .id
            .ok_or("give an id: what is asked twice is said once")?;
        let by = speech.way(question.by)?;
        let text = question.text.unwrap_or_default();
        let mut puts = Vec::new();
        for channel in channels {
            let (name, id) = (channel.clone(), format!("{id}/{channel}"));
            let may = self
                .list
                .with(move |list| list.is_authorised(&name))
                .await?;
            if !may {
                let why = "its broadcaster has not let the bot in";
                puts.push((channel.clone(), id, Err(why)));
                continue;
            }
            let message = Message {
                id: id.clone(),
                account: match by {
                    By::Helix => speech.account(),
                    By::Irc => self
                        .reader(channel)
                        .await?
                        .unwrap_or_else(|| speech.account()),
                },
                channel: channel.clone(),
                text: text.clone(),
                reply_to: question.reply_to.clone(),
                ttl,
                by,
            };
            let put = speech.put(message).await?;
            puts.push((channel.clone(), id, Ok(put)));
        }
        Ok(puts)
    }

    /// Shows the units, or has the conduit have another number of them.
    async fn units(&mut self, number: Option<u32>, auto: bool) -> Result<Value, String> {
        match (&mut self.ways, number) {
            (Ways::Irc(way), None) => {
                let units = way.units().into_iter().map(|(unit, account, channels)| {
                    json!({ "unit": unit, "account": account, "channels": channels })
                });
                Ok(json!({ "units": units.collect::<Vec<_>>() }))
            }
            (Ways::Irc(_), Some(_)) => {
                Err("over IRC the number of units follows the channels".to_owned())
            }
            (Ways::Conduit(_), Some(number)) => {
                self.holds(number).await?;
                Ok(json!({ "units": number, "held": true }))
            }
            (Ways::Conduit(way), None) => {
                if auto {
                    way.follow(unix()).await?;
                }
                Ok(json!({ "units": way.shards().await?, "held": way.is_held() }))
            }
        }
    }
}

fn changed(channel: &Login, change: Change) -> Value {
    match change {
        Change::Made => row(channel, Answer::Resolved, None),
        Change::Already => row(channel, Answer::Ignored, None),
        Change::NotManaged => row(
            channel,
            Answer::Rejected,
            Some("this bot may be in every channel: see --anybody"),
        ),
        Change::Full => row(channel, Answer::Rejected, Some("the list is full")),
    }
}
