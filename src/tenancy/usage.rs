//! What each tenant used: counted in memory, added to the partitioned table `usage_metrics` in batches, and shown to
//! Prometheus.
//!
//! Counting never waits and never fails. What was counted and not yet written is lost when the process dies, and nothing
//! else; see [`Usage::flush`].

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use sqlx::Row as _;

use super::id::TenantId;
use super::store::{Store, StoreError};

/// Tenants that get a label of their own in [`Usage::prometheus`]; the others are added up as `other`.
const LABELLED_TENANTS: usize = 100;

/// What is counted. The name is the `metric` of the table and, after `tenantproof_`, of Prometheus.
///
/// ```
/// use tenantproof::tenancy::Metric;
/// assert_eq!(Metric::CacheHits.to_string(), "cache_hits");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Metric {
    /// Transactions.
    Operations,
    /// Time spent in them, in microseconds.
    OperationMicroseconds,
    /// Rows that the crate's own reads returned.
    Rows,
    /// Bytes of documents and cached values.
    Bytes,
    /// Cache lookups that found something.
    CacheHits,
    /// Cache lookups that did not.
    CacheMisses,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Operations,
        Self::OperationMicroseconds,
        Self::Rows,
        Self::Bytes,
        Self::CacheHits,
        Self::CacheMisses,
    ];

    /// Its name in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operations => "operations",
            Self::OperationMicroseconds => "operation_microseconds",
            Self::Rows => "rows",
            Self::Bytes => "bytes",
            Self::CacheHits => "cache_hits",
            Self::CacheMisses => "cache_misses",
        }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Counters of one tenant: since the process began, and how much of it is in the table.
#[derive(Default)]
struct Counters {
    total: [AtomicU64; Metric::ALL.len()],
    written: Mutex<[u64; Metric::ALL.len()]>,
}

impl Counters {
    fn mark_written(&self, total: &[u64]) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        for (written, total) in written.iter_mut().zip(total) {
            *written = (*written).max(*total);
        }
    }
}

/// What each tenant used. Cheap to clone.
///
/// ```
/// use tenantproof::tenancy::{Metric, TenantId, Usage};
///
/// let usage = Usage::default();
/// let acme = TenantId::random();
/// usage.add(acme, Metric::Rows, 3);
/// assert_eq!(usage.total(acme, Metric::Rows), 3);
/// assert!(usage.prometheus().contains(&format!("tenantproof_rows_total{{tenant=\"{acme}\"}} 3")));
/// ```
#[derive(Clone, Default)]
pub struct Usage {
    tenants: Arc<RwLock<HashMap<TenantId, Arc<Counters>>>>,
}

impl fmt::Debug for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Usage").finish_non_exhaustive()
    }
}

impl Usage {
    fn counters(&self, tenant: TenantId) -> Arc<Counters> {
        let known = self
            .tenants
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&tenant)
            .cloned();
        known.unwrap_or_else(|| {
            let mut tenants = self.tenants.write().unwrap_or_else(PoisonError::into_inner);
            tenants.entry(tenant).or_default().clone()
        })
    }

    /// Counts.
    pub fn add(&self, tenant: TenantId, metric: Metric, amount: u64) {
        self.counters(tenant).total[metric as usize].fetch_add(amount, Ordering::Relaxed);
    }

    pub(super) fn record_operation(&self, tenant: TenantId, took: Duration) {
        let counters = self.counters(tenant);
        counters.total[Metric::Operations as usize].fetch_add(1, Ordering::Relaxed);
        let took = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        counters.total[Metric::OperationMicroseconds as usize].fetch_add(took, Ordering::Relaxed);
    }

    /// What this process has counted since it began.
    pub fn total(&self, tenant: TenantId, metric: Metric) -> u64 {
        self.counters(tenant).total[metric as usize].load(Ordering::Relaxed)
    }

    /// Adds what was counted since the last time to the table, one transaction a tenant. To be called every minute or so,
    /// and before the process ends.
    ///
    /// What could not be written is written the next time.
    ///
    /// # Errors
    ///
    /// The first failure; the other tenants were tried all the same.
    pub async fn flush(&self, store: &Store) -> Result<(), StoreError> {
        let tenants: Vec<(TenantId, Arc<Counters>)> = {
            let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
            tenants.iter().map(|(id, counters)| (*id, counters.clone())).collect()
        };
        let mut failed = None;
        for (tenant, counters) in tenants {
            if let Err(error) = write(store, tenant, &counters).await {
                failed.get_or_insert(error);
            }
        }
        failed.map_or(Ok(()), Err)
    }

    /// What a tenant used on the last so many days, today included, by metric, as far as it was flushed.
    ///
    /// # Errors
    ///
    /// When the database does not answer.
    pub async fn window(
        &self,
        store: &Store,
        tenant: TenantId,
        days: u32,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let of = |source| StoreError::of("read the tenant's usage", source);
        let mut tx = store.service().begin(tenant).await?;
        let rows = sqlx::query(
            "SELECT metric, sum(quantity)::bigint AS quantity FROM public.usage_metrics
             WHERE tenant_id = $1 AND day > CURRENT_DATE - $2 GROUP BY metric ORDER BY metric",
        )
        .bind(tenant.uuid())
        .bind(i32::try_from(days).unwrap_or(i32::MAX))
        .fetch_all(&mut *tx)
        .await
        .map_err(of)?;
        tx.commit().await?;
        let read = |row: &sqlx::postgres::PgRow| {
            let quantity: i64 = row.try_get("quantity")?;
            Ok((row.try_get("metric")?, quantity.unsigned_abs()))
        };
        rows.iter().map(read).collect::<Result<_, sqlx::Error>>().map_err(of)
    }

    /// The totals in the OpenMetrics text format, the busiest hundred tenants by name and the rest as `other`, so that
    /// many tenants do not make many series.
    pub fn prometheus(&self) -> String {
        let mut registry = Registry::with_prefix("tenantproof");
        for metric in Metric::ALL {
            let help = format!(
                "Of a tenant, since the process began: {}",
                metric.name().replace('_', " ")
            );
            registry.register(
                metric.name(),
                help,
                Family {
                    usage: self.clone(),
                    metric,
                },
            );
        }
        let mut out = String::new();
        // Writing to a String does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }

    /// The label a tenant has, and its total.
    fn series(&self, metric: Metric) -> BTreeMap<String, u64> {
        let tenants = self.tenants.read().unwrap_or_else(PoisonError::into_inner);
        let of = |counters: &Counters, metric: Metric| counters.total[metric as usize].load(Ordering::Relaxed);
        let mut busiest: Vec<(u64, TenantId, u64)> = tenants
            .iter()
            .map(|(id, counters)| (of(counters, Metric::Operations), *id, of(counters, metric)))
            .collect();
        busiest.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
        let mut series = BTreeMap::new();
        for (rank, (_, id, total)) in busiest.into_iter().enumerate() {
            let label = if rank < LABELLED_TENANTS {
                id.to_string()
            } else {
                "other".to_owned()
            };
            *series.entry(label).or_default() += total;
        }
        series
    }
}

#[derive(Debug)]
struct Family {
    usage: Usage,
    metric: Metric,
}

impl EncodeMetric for Family {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), fmt::Error> {
        for (tenant, total) in self.usage.series(self.metric) {
            let labels = [("tenant", tenant)];
            encoder
                .encode_family(&labels)?
                .encode_counter::<[(&str, &str); 0], _, u64>(&total, None)?;
        }
        Ok(())
    }

    fn metric_type(&self) -> MetricType {
        MetricType::Counter
    }
}

async fn write(store: &Store, tenant: TenantId, counters: &Counters) -> Result<(), StoreError> {
    let total: Vec<u64> = counters.total.iter().map(|c| c.load(Ordering::Relaxed)).collect();
    let before = *counters.written.lock().unwrap_or_else(PoisonError::into_inner);
    let (mut names, mut amounts) = (Vec::new(), Vec::new());
    for metric in Metric::ALL {
        let amount = total[metric as usize].saturating_sub(before[metric as usize]);
        if amount > 0 {
            names.push(metric.name());
            amounts.push(i64::try_from(amount).unwrap_or(i64::MAX));
        }
    }
    if names.is_empty() {
        return Ok(());
    }
    let mut tx = store.service().begin(tenant).await?;
    sqlx::query(
        "INSERT INTO public.usage_metrics AS m (tenant_id, metric, quantity)
         SELECT $1, metric, quantity FROM unnest($2::text[], $3::bigint[]) AS added (metric, quantity)
         ON CONFLICT (tenant_id, metric, day) DO UPDATE SET quantity = m.quantity + EXCLUDED.quantity",
    )
    .bind(tenant.uuid())
    .bind(&names)
    .bind(&amounts)
    .execute(&mut *tx)
    .await
    .map_err(|source| StoreError::of("write the tenant's usage", source))?;
    // INVARIANT: marked before COMMIT, so that a commit that may have gone through is not added twice.
    counters.mark_written(&total);
    tx.commit().await
}
