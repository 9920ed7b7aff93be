//! `tenants share` and `unshare`.

use std::time::Duration;

use anyhow::anyhow;

use super::{Desk, Exit, Failure};
use crate::tenancy::{Document, FutureExt as _, Tenant};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Share {
    /// Slug or key of the tenant whose document it is
    owner: String,
    /// Slug of the document
    document: String,
    /// Slug or key of the tenant that shall read it
    with: String,
    /// For how long, such as 12h or 7d
    #[arg(long = "for", value_name = "TIME", default_value = "7d", value_parser = duration)]
    time: Duration,
    /// Agree to it for the reader, where it has not agreed itself
    #[arg(long)]
    consent: bool,
}

/// A number of seconds, minutes, hours or days.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "a number with s, m, h or d is wanted, such as 12h".to_owned();
    let unit = text.chars().next_back().ok_or_else(wrong)?;
    let number: u32 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| wrong())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_secs(u64::from(number) * seconds))
}

pub async fn share(desk: &Desk, args: Share) -> Result<Exit, Failure> {
    let (owner, document, with) = parties(desk, &args.owner, &args.document, &args.with).await?;
    let (service, shares) = (desk.store.service(), desk.store.shares());
    if args.consent {
        shares.consent(owner.id).in_tenant(service.context(with.id)).await?;
    }
    let share = shares
        .share(document.id, with.id, args.time)
        .in_tenant(service.context(owner.id))
        .await?;
    desk.print(&share, |s| {
        format!(
            "{} may read `{}` of {} until {}",
            with.slug, document.slug, owner.slug, s.expires_at
        )
    })?;
    Ok(Exit::Isolated)
}

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Unshare {
    /// Slug or key of the tenant whose document it is
    owner: String,
    /// Slug of the document
    document: String,
    /// Slug or key of the tenant that reads it
    with: String,
}

pub async fn unshare(desk: &Desk, args: Unshare) -> Result<Exit, Failure> {
    let (owner, document, with) = parties(desk, &args.owner, &args.document, &args.with).await?;
    let (context, shares) = (desk.store.service().context(owner.id), desk.store.shares());
    let given = shares.given().in_tenant(context.clone()).await?;
    let Some(share) = given.iter().find(|s| s.document == document.id && s.with == with.id) else {
        return Err(Failure::usage(anyhow!(
            "end the share of `{}` with {}: it is not shared",
            document.slug,
            with.slug
        )));
    };
    let was_live = shares.revoke(share.id).in_tenant(context).await?;
    desk.print(&was_live, |_| {
        format!("{} may no longer read `{}` of {}", with.slug, document.slug, owner.slug)
    })?;
    Ok(Exit::Isolated)
}

async fn parties(desk: &Desk, owner: &str, document: &str, with: &str) -> Result<(Tenant, Document, Tenant), Failure> {
    let (owner, with) = (desk.tenant(owner).await?, desk.tenant(with).await?);
    let context = desk.store.service().context(owner.id);
    let found = desk.store.documents().find(document).in_tenant(context).await?;
    let missing = || {
        Failure::usage(anyhow!(
            "find document `{document}` of tenant {}: it has none of this slug",
            owner.slug
        ))
    };
    Ok((owner.clone(), found.ok_or_else(missing)?, with))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_with_their_unit() {
        assert_eq!(duration("90s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("7d"), Ok(Duration::from_secs(604_800)));
        for wrong in ["", "7", "d", "-1d", "1.5h", "7w", "7é"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
