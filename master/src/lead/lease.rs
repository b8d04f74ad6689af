//! The key of the one that leads. Nobody has it longer than the lease without renewing it:
//! the store removes it. It says who is to take the term; that no other one decides anything
//! is the term's affair (`store`).

use bytes::Bytes;

use crate::{
    post::Named,
    store::nats::{Bucket, Trouble, code},
};

/// The key.
const LEADER: &str = "leader";

/// Keys of those who would lead, one a host, begin so.
const STANDS_BY: &str = "reach.";

/// More are not looked at.
const MOST_STANDBYS: usize = 64;

/// Who has the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seat {
    /// `None`: the key is not there, or nobody can read it.
    pub(super) holder: Option<Named>,
    /// The sequence that the next one has to expect.
    pub(super) sequence: u64,
}

impl Seat {
    /// Who leads by it.
    pub(super) fn leader(&self) -> Option<&Named> {
        self.holder.as_ref().filter(|holder| !holder.id.is_empty())
    }

    /// Who stepped down by it.
    pub(super) fn left(&self) -> Option<&Named> {
        self.holder.as_ref().filter(|holder| holder.id.is_empty())
    }
}

/// What became of a lease.
#[derive(Debug)]
pub(super) enum Renewed {
    /// It is there for another while.
    Kept,
    /// It is gone: why.
    Lost(String),
}

/// The key is this master's.
#[derive(Debug)]
pub(super) struct Lease {
    bucket: Bucket,
    me: Named,
    sequence: u64,
}

/// Who has the key now.
pub(super) async fn look(bucket: &Bucket) -> Result<Seat, Trouble> {
    let found = bucket.get(LEADER).await?;
    let holder = found.as_ref().and_then(|found| found.value.as_deref());
    Ok(Seat {
        holder: holder.and_then(|value| serde_json::from_slice(value).ok()),
        sequence: found.map_or(0, |found| found.sequence),
    })
}

/// Takes the key where nobody has it; `None`: somebody else was quicker.
pub(super) async fn take(
    bucket: &Bucket,
    me: &Named,
    sequence: u64,
) -> Result<Option<Lease>, Trouble> {
    match bucket.put(LEADER, Some(sequence), value(me)).await {
        Ok(sequence) => Ok(Some(Lease {
            bucket: bucket.clone(),
            me: me.clone(),
            sequence,
        })),
        Err(trouble) if trouble.is_wrong_sequence() => Ok(None),
        Err(trouble) => Err(trouble),
    }
}

/// Says that a master would lead, and how many slaves it reaches; kept as long as a lease.
pub(super) async fn stand_by(bucket: &Bucket, me: &Named) -> Result<(), Trouble> {
    let key = key_of(me);
    bucket.put(&key, None, value(me)).await.map(drop)
}

/// A master does not stand by any more.
pub(super) async fn stand_by_no_more(bucket: &Bucket, me: &Named) -> Result<(), Trouble> {
    let key = key_of(me);
    bucket.delete(&key, None).await.map(drop)
}

/// Who would lead, but for this one.
pub(super) async fn standbys(bucket: &Bucket, me: &Named) -> Result<Vec<Named>, Trouble> {
    let mut standbys = Vec::new();
    let mut from = 0;
    while let Some(found) = bucket.next(from, STANDS_BY).await? {
        from = found.sequence + 1;
        let named = found.value.as_deref();
        let named = named.and_then(|value| serde_json::from_slice::<Named>(value).ok());
        standbys.extend(named.filter(|named| named.host != me.host));
        if standbys.len() == MOST_STANDBYS {
            break;
        }
    }
    Ok(standbys)
}

impl Lease {
    /// Renews it.
    ///
    /// # Errors
    /// The store does not answer: whether it was renewed is not known.
    pub(super) async fn renew(&mut self) -> Result<Renewed, Trouble> {
        let put = self
            .bucket
            .put(LEADER, Some(self.sequence), value(&self.me))
            .await;
        match put {
            Ok(sequence) => {
                self.sequence = sequence;
                Ok(Renewed::Kept)
            }
            Err(trouble) if trouble.is_wrong_sequence() => self.compare().await,
            Err(Trouble::Nobody) => match self.bucket.get(LEADER).await {
                Err(trouble) if trouble.is(code::NO_STREAM) => Ok(forgotten()),
                Ok(_) => Err(Trouble::Nobody),
                Err(trouble) => Err(trouble),
            },
            Err(trouble) if trouble.is(code::NO_STREAM) => Ok(forgotten()),
            Err(trouble) => Err(trouble),
        }
    }

    /// The key is not what was written last. A renewal may have been done without an answer,
    /// and the key of one whose store was away for long is gone.
    async fn compare(&mut self) -> Result<Renewed, Trouble> {
        let seat = look(&self.bucket).await?;
        match seat.holder {
            Some(holder) if holder.id == self.me.id => {
                self.sequence = seat.sequence;
                Ok(Renewed::Kept)
            }
            Some(holder) => Ok(Renewed::Lost(format!(
                "the master on {} ({}) leads now",
                holder.host, holder.listen
            ))),
            None => match take(&self.bucket, &self.me, seat.sequence).await? {
                Some(lease) => {
                    self.sequence = lease.sequence;
                    Ok(Renewed::Kept)
                }
                None => Ok(Renewed::Lost(
                    "another master took the lead while the store was away".to_owned(),
                )),
            },
        }
    }

    /// Gives it back: `to` is to lead now, if it is there.
    pub(super) async fn release(self, to: &str) -> Result<(), Trouble> {
        let left = Named {
            id: String::new(),
            yields_to: to.to_owned(),
            ..self.me
        };
        let put = self.bucket.put(LEADER, Some(self.sequence), value(&left));
        match put.await {
            // It is another one's already.
            Err(trouble) if trouble.is_wrong_sequence() => Ok(()),
            put => put.map(drop),
        }
    }
}

/// A dot stands between the parts of a key.
fn key_of(me: &Named) -> String {
    format!("{STANDS_BY}{}", me.host.replace('.', "=2E"))
}

fn forgotten() -> Renewed {
    Renewed::Lost("the store has forgotten everything".to_owned())
}

fn value(named: &Named) -> Bytes {
    // Texts and a number can be written down.
    serde_json::to_vec(named).unwrap_or_default().into()
}
