//! Who leads, where masters share a store.

use prometheus_client::{
    metrics::gauge::Gauge,
    registry::{Registry, Unit},
};

use super::each::Float;
use crate::post::Standing;

/// Nothing where the journal is on this host: there is one master. A standby master says the
/// same of itself (`lead/standby.rs`), so that there is always somebody who says who leads.
pub(super) fn leads(standing: Option<&Standing>, ours: &mut Registry) {
    let Some(standing) = standing else {
        return;
    };
    let leads: Gauge = Gauge::default();
    leads.set(standing.leads.into());
    ours.register("leads", "1 where this master leads its fleet", leads);
    let standbys: Gauge = Gauge::default();
    standbys.set(i64::try_from(standing.standbys.len()).unwrap_or(i64::MAX));
    ours.register(
        "leads_standbys",
        "Standby masters that the leader knows of",
        standbys,
    );
    let away: Float = Float::default();
    away.set(standing.store_away_ms.unwrap_or(0) as f64 / 1000.0);
    ours.register_with_unit(
        "leads_store_away",
        "How long the store of the journal does not answer; 0: it answers",
        Unit::Seconds,
        away,
    );
}
