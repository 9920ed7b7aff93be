//! A tower layer that sets the tenant of a request: from a verified JSON Web Token, or from headers that a trusted proxy set.
//!
//! A request that does not say who it is for, or not believably, is answered with 401 and reaches nothing. What a token
//! says beyond tenant and user is not looked at here; whether the user is a member is for the database to say.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use jsonwebtoken::{DecodingKey, Validation};
use serde::Deserialize;
use serde_json::json;
use tower_layer::Layer;
use tower_service::Service;

use super::context::{FutureExt as _, TenantContext};
use super::id::{TenantId, UserId};

/// The algorithm that tokens are signed with. A token that names another one is refused, whatever it says itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtAlgorithm {
    /// HMAC with SHA-256 and a shared secret, as Supabase signs by default.
    Hs256,
    /// RSA with SHA-256.
    Rs256,
    /// ECDSA on P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A key that is none.
#[derive(Debug, thiserror::Error)]
#[error("read the key that tokens are verified with: {0}")]
pub struct JwtKeyError(String);

/// What believable tokens look like. The key is not shown.
///
/// The tenant is read from `app_metadata.tenant_id` and whether the user administers it from `app_metadata.role`, which only
/// the issuer writes; the user is `sub`. Expiry and audience are required.
///
/// ```
/// use tenantproof::tenancy::{JwtAlgorithm, JwtVerifier, TenantLayer};
/// let verifier = JwtVerifier::new(JwtAlgorithm::Hs256, b"0123456789abcdef0123456789abcdef", "authenticated")?
///     .issuer("https://auth.example.com");
/// let layer = TenantLayer::jwt(verifier); // `Router::new().layer(layer)`
/// # Ok::<(), tenantproof::tenancy::JwtKeyError>(())
/// ```
#[derive(Clone)]
pub struct JwtVerifier {
    key: DecodingKey,
    validation: Validation,
}

impl fmt::Debug for JwtVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtVerifier")
            .field("validation", &self.validation)
            .finish_non_exhaustive()
    }
}

impl JwtVerifier {
    /// With a secret (HS256, 32 bytes at least) or a public key in PEM, for this audience. Clocks may differ by 30 s.
    ///
    /// # Errors
    ///
    /// When the key is too short or none.
    pub fn new(algorithm: JwtAlgorithm, key: &[u8], audience: &str) -> Result<Self, JwtKeyError> {
        let of = |error: jsonwebtoken::errors::Error| JwtKeyError(error.to_string());
        let (algorithm, key) = match algorithm {
            JwtAlgorithm::Hs256 if key.len() < 32 => {
                return Err(JwtKeyError(format!(
                    "it has {} bytes; HS256 needs 32 at least",
                    key.len()
                )));
            }
            JwtAlgorithm::Hs256 => (jsonwebtoken::Algorithm::HS256, DecodingKey::from_secret(key)),
            JwtAlgorithm::Rs256 => (
                jsonwebtoken::Algorithm::RS256,
                DecodingKey::from_rsa_pem(key).map_err(of)?,
            ),
            JwtAlgorithm::Es256 => (
                jsonwebtoken::Algorithm::ES256,
                DecodingKey::from_ec_pem(key).map_err(of)?,
            ),
            JwtAlgorithm::EdDsa => (
                jsonwebtoken::Algorithm::EdDSA,
                DecodingKey::from_ed_pem(key).map_err(of)?,
            ),
        };
        let mut validation = Validation::new(algorithm);
        validation.set_audience(&[audience]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.validate_nbf = true;
        validation.leeway = 30;
        Ok(Self { key, validation })
    }

    /// Also asks that this issuer made them.
    pub fn issuer(mut self, issuer: &str) -> Self {
        self.validation.set_issuer(&[issuer]);
        self.validation.required_spec_claims.insert("iss".into());
        self
    }

    /// Who a token is for.
    fn context(&self, token: &str) -> Option<TenantContext> {
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .ok()?
            .claims;
        let tenant: TenantId = claims.app_metadata.tenant_id.parse().ok()?;
        let user: UserId = claims.sub.parse().ok()?;
        let context = context(tenant, user, claims.app_metadata.role.as_deref())?;
        // What policies may read, and no more of the token than that.
        Some(context.with_claims(json!({"sub": user, "app_metadata": {"tenant_id": tenant}})))
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
    app_metadata: AppMetadata,
}

#[derive(Deserialize)]
struct AppMetadata {
    tenant_id: String,
    role: Option<String>,
}

/// A role that is not known is no member either.
fn context(tenant: TenantId, user: UserId, role: Option<&str>) -> Option<TenantContext> {
    match role {
        None | Some("member") => Some(TenantContext::member(tenant, user)),
        Some("admin") => Some(TenantContext::admin(tenant, user)),
        Some(_) => None,
    }
}

/// A proxy that authenticates requests and says so with a secret that only it and the service know. It has to take the
/// four headers away from what comes in.
///
/// ```
/// use tenantproof::tenancy::{TenantLayer, TrustedProxy};
/// let layer = TenantLayer::trusted_proxy(TrustedProxy::new("0123456789abcdef0123456789abcdef")?);
/// # Ok::<(), tenantproof::tenancy::JwtKeyError>(())
/// ```
#[derive(Clone)]
pub struct TrustedProxy {
    secret: String,
}

impl fmt::Debug for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustedProxy").finish_non_exhaustive()
    }
}

impl TrustedProxy {
    /// The header with the secret.
    pub const SECRET: &str = "x-proxy-secret";
    /// The header with the tenant's key.
    pub const TENANT: &str = "x-tenant-id";
    /// The header with the user's key.
    pub const USER: &str = "x-user-id";
    /// The header with `member` or `admin`; left out: member.
    pub const ROLE: &str = "x-tenant-role";

    /// Known by this secret.
    ///
    /// # Errors
    ///
    /// When it has less than 32 bytes.
    pub fn new(secret: &str) -> Result<Self, JwtKeyError> {
        if secret.len() < 32 {
            return Err(JwtKeyError(format!(
                "the proxy's secret has {} bytes; it needs 32 at least",
                secret.len()
            )));
        }
        Ok(Self {
            secret: secret.to_owned(),
        })
    }

    fn context(&self, headers: &HeaderMap) -> Option<TenantContext> {
        let secret = only(headers, Self::SECRET)?;
        if !same(secret.as_bytes(), self.secret.as_bytes()) {
            return None;
        }
        let tenant = only(headers, Self::TENANT)?.parse().ok()?;
        let user = only(headers, Self::USER)?.parse().ok()?;
        match headers.contains_key(Self::ROLE) {
            false => context(tenant, user, None),
            true => context(tenant, user, Some(only(headers, Self::ROLE)?)),
        }
    }
}

/// The value of a header that is there once.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?;
    values.next().is_none().then_some(value)?.to_str().ok()
}

/// In a time that does not depend on where they differ.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

#[derive(Debug)]
enum Believes {
    Jwt(Box<JwtVerifier>),
    Proxy(TrustedProxy),
}

impl Believes {
    fn context(&self, headers: &HeaderMap) -> Option<TenantContext> {
        match self {
            Self::Jwt(verifier) => {
                let value = only(headers, header::AUTHORIZATION.as_str())?;
                let (scheme, token) = value.split_once(' ')?;
                scheme
                    .eq_ignore_ascii_case("bearer")
                    .then(|| verifier.context(token.trim()))?
            }
            Self::Proxy(proxy) => proxy.context(headers),
        }
    }
}

/// Sets the tenant of each request, or answers 401.
#[derive(Debug, Clone)]
pub struct TenantLayer(Arc<Believes>);

impl TenantLayer {
    /// From `Authorization: Bearer <token>`.
    pub fn jwt(verifier: JwtVerifier) -> Self {
        Self(Arc::new(Believes::Jwt(Box::new(verifier))))
    }

    /// From headers that a proxy set.
    pub fn trusted_proxy(proxy: TrustedProxy) -> Self {
        Self(Arc::new(Believes::Proxy(proxy)))
    }
}

impl<S> Layer<S> for TenantLayer {
    type Service = TenantService<S>;

    fn layer(&self, inner: S) -> TenantService<S> {
        TenantService {
            inner,
            believes: self.0.clone(),
        }
    }
}

/// A service whose requests have a tenant. From [`TenantLayer`].
#[derive(Debug, Clone)]
pub struct TenantService<S> {
    inner: S,
    believes: Arc<Believes>,
}

impl<S, Body, ResBody> Service<Request<Body>> for TenantService<S>
where
    S: Service<Request<Body>, Response = Response<ResBody>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    Body: Send + 'static,
    ResBody: Default + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let Some(context) = self.believes.context(request.headers()) else {
            return Box::pin(async { Ok(refusal()) });
        };
        // Set from the first moment, also for what the inner service does before it awaits.
        let future = super::context::with_tenant_sync(context.clone(), || self.inner.call(request));
        Box::pin(future.in_tenant(context))
    }
}

/// Without a reason: it would tell a guesser how far the guess was right.
fn refusal<ResBody: Default>() -> Response<ResBody> {
    let mut response = Response::new(ResBody::default());
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    response
}
