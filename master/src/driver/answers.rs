//! Who asked for what, until it is answered.

use std::collections::BTreeMap;

use baton_core::event::{News, Planned, RequestId};
use baton_protocol::{DeployId, SlaveId};
use bytes::Bytes;

use crate::{news::Brought, notice::Answer};

/// Requests of operators that the core was asked for, and of slaves that are being
/// killed.
#[derive(Debug, Default)]
pub(super) struct Answers {
    asked: BTreeMap<RequestId, Asked>,
    /// What the core refuses at once, or took.
    wishes: BTreeMap<RequestId, Answer<()>>,
    /// Whom to tell the death of a slave that the operator had killed.
    killed: Vec<(SlaveId, Answer<SlaveId>)>,
    /// The number of the last request.
    last: u64,
}

#[derive(Debug)]
enum Asked {
    Deploy {
        /// What it brings.
        brought: Brought,
        /// A signal wants no answer.
        answer: Option<Answer<DeployId>>,
    },
    Fence(Answer<SlaveId>),
    Arrange(Answer<Vec<Planned>>),
    Question(Answer<Bytes>),
}

impl Answers {
    /// A deploy is asked for.
    pub(super) fn deploy(
        &mut self,
        brought: Brought,
        answer: Option<Answer<DeployId>>,
    ) -> RequestId {
        self.ask(Asked::Deploy { brought, answer })
    }

    /// Something is asked for that the core refuses at once, or takes.
    pub(super) fn wish(&mut self, answer: Answer<()>) -> RequestId {
        let request = self.number();
        self.wishes.insert(request, answer);
        request
    }

    /// A slave is to be dead by the operator's word.
    pub(super) fn fence(&mut self, answer: Answer<SlaveId>) -> RequestId {
        self.ask(Asked::Fence(answer))
    }

    /// Where shards are to be is asked for.
    pub(super) fn arrange(&mut self, answer: Answer<Vec<Planned>>) -> RequestId {
        self.ask(Asked::Arrange(answer))
    }

    /// The once-per-bot work is asked something. It may never answer, and its asker waits
    /// for some seconds only.
    pub(super) fn question(&mut self, answer: Answer<Bytes>) -> RequestId {
        self.asked.retain(|_, asked| match asked {
            Asked::Question(answer) => !answer.is_closed(),
            Asked::Deploy { .. } | Asked::Fence(_) | Asked::Arrange(_) => true,
        });
        self.ask(Asked::Question(answer))
    }

    fn ask(&mut self, asked: Asked) -> RequestId {
        let request = self.number();
        self.asked.insert(request, asked);
        request
    }

    fn number(&mut self) -> RequestId {
        self.last += 1;
        let request = RequestId(self.last);
        debug_assert!(
            !self.asked.contains_key(&request) && !self.wishes.contains_key(&request),
            "two requests have one number"
        );
        request
    }

    /// A slave is killed for an operator, who hears when it is dead.
    pub(super) fn kill(&mut self, slave: SlaveId, answer: Answer<SlaveId>) {
        self.killed.retain(|(_, answer)| !answer.is_closed());
        self.killed.push((slave, answer));
    }

    /// A slave is known to be dead: whoever had it killed hears of it.
    pub(super) fn killed(&mut self, slave: SlaveId) {
        for (_, answer) in self.killed.extract_if(.., |(killed, _)| *killed == slave) {
            // The asker may be gone.
            let _ = answer.send(Ok(slave));
        }
    }

    /// What a deploy brings that was asked for and is taken.
    pub(super) fn brought_by(&self, news: &News) -> Option<Brought> {
        let News::DeployAccepted {
            request: Some(request),
            ..
        } = news
        else {
            return None;
        };
        match self.asked.get(request)? {
            Asked::Deploy { brought, .. } => Some(brought.clone()),
            Asked::Fence(_) | Asked::Arrange(_) | Asked::Question(_) => None,
        }
    }

    /// Answers whoever asked for this. An asker may be gone.
    pub(super) fn told(&mut self, news: &News) {
        if let News::RequestRefused { request, reason } = news {
            self.refused(*request, reason);
        }
        if let News::DeployAccepted {
            request: Some(request),
            deploy,
            ..
        } = news
        {
            let asked = self.asked.remove(request);
            debug_assert!(
                matches!(asked, Some(Asked::Deploy { .. })),
                "no deploy was asked for as {request:?}"
            );
            if let Some(Asked::Deploy {
                answer: Some(answer),
                ..
            }) = asked
            {
                let _ = answer.send(Ok(*deploy));
            }
        }
        if let News::Arranged { request, moves, .. } = news {
            let asked = self.asked.remove(request);
            if let Some(Asked::Arrange(answer)) = asked {
                let _ = answer.send(Ok(moves.clone()));
            } else {
                debug_assert!(false, "no order was asked for as {request:?}: {asked:?}");
            }
        }
        if let News::Answered { request, body } = news {
            // Else its asker waits no more, or the answer is one of a question of the master
            // before.
            if let Some(Asked::Question(_)) = self.asked.get(request)
                && let Some(Asked::Question(answer)) = self.asked.remove(request)
            {
                let _ = answer.send(Ok(body.clone()));
            }
        }
        if let News::Fenced { request, slave } = news {
            let asked = self.asked.remove(request);
            if let Some(Asked::Fence(answer)) = asked {
                let _ = answer.send(Ok(*slave));
            } else {
                debug_assert!(false, "no fence was asked for as {request:?}: {asked:?}");
            }
        }
    }

    fn refused(&mut self, request: RequestId, reason: &str) {
        let reason = reason.to_owned();
        if let Some(answer) = self.wishes.remove(&request) {
            let _ = answer.send(Err(reason));
            return;
        }
        match self.asked.remove(&request) {
            Some(Asked::Deploy {
                answer: Some(answer),
                ..
            }) => drop(answer.send(Err(reason))),
            Some(Asked::Fence(answer)) => drop(answer.send(Err(reason))),
            Some(Asked::Arrange(answer)) => drop(answer.send(Err(reason))),
            Some(Asked::Question(answer)) => drop(answer.send(Err(reason))),
            // A signal wants no answer.
            Some(Asked::Deploy { answer: None, .. }) => {}
            None => debug_assert!(false, "nobody asked for {request:?}: {reason}"),
        }
    }

    /// Everything that the core was asked for was carried out: the wishes that it did
    /// not refuse it took.
    pub(super) fn taken(&mut self) {
        for (_, answer) in std::mem::take(&mut self.wishes) {
            // The asker may be gone.
            let _ = answer.send(Ok(()));
        }
    }
}
