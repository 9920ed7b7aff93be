//! The tenant of a request, from a token or a proxy: what is believed, and what is not.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use http::{Request, StatusCode};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use tenantproof::tenancy::{JwtAlgorithm, JwtVerifier, TenantContext, TenantId, TenantLayer, TrustedProxy, UserId};
use tower_service::Service as _;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn app(layer: TenantLayer) -> Router {
    let who = || async {
        let context = TenantContext::current().expect("the layer set it");
        format!(
            "{} {:?} {}",
            context.tenant(),
            context.access(),
            context.claims().is_some()
        )
    };
    Router::new().route("/", get(who)).layer(layer)
}

async fn ask(app: &Router, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::get("/");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let mut app = app.clone();
    let response = app.call(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = response.status();
    let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

fn sign(algorithm: Algorithm, secret: &str, claims: &Value) -> String {
    let token = jsonwebtoken::encode(
        &Header::new(algorithm),
        claims,
        &EncodingKey::from_secret(secret.as_bytes()),
    )
    .unwrap();
    format!("Bearer {token}")
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

#[tokio::test]
async fn a_token_is_believed_only_where_all_of_it_is_right() {
    let verifier = JwtVerifier::new(JwtAlgorithm::Hs256, SECRET.as_bytes(), "authenticated")
        .unwrap()
        .issuer("us");
    let app = app(TenantLayer::jwt(verifier.clone()));
    let (tenant, user) = (TenantId::random(), UserId::random());
    let right = json!({"sub": user, "aud": "authenticated", "iss": "us", "exp": now() + 600, "role": "service_role",
                       "app_metadata": {"tenant_id": tenant, "role": "admin"}, "user_metadata": {"tenant_id": TenantId::random()}});
    let with = |changes: Value| {
        let mut claims = right.clone();
        for (key, value) in changes.as_object().unwrap() {
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(key);
            } else {
                claims[key] = value.clone();
            }
        }
        claims
    };
    let good = sign(Algorithm::HS256, SECRET, &right);
    let (status, body) = ask(&app, &[("authorization", &good)]).await;
    assert_eq!((status, body), (StatusCode::OK, format!("{tenant} Admin({user}) true")));
    let (status, _) = ask(&app, &[("Authorization", &good.replace("Bearer", "bearer"))]).await;
    assert_eq!(status, StatusCode::OK);

    let unsigned = {
        // {"alg":"none"}
        let payload = good.split('.').nth(1).unwrap().to_owned();
        format!("Bearer eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{payload}.")
    };
    let tampered = {
        let other = sign(
            Algorithm::HS256,
            SECRET,
            &with(json!({"app_metadata": {"tenant_id": TenantId::random()}})),
        );
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[1] = other.split('.').nth(1).unwrap();
        parts.join(".")
    };
    let wrong = [
        ("nothing", String::new()),
        ("another scheme", good.replace("Bearer", "Basic")),
        ("no token", "Bearer ".into()),
        ("garbage", "Bearer a.b.c".into()),
        (
            "another secret",
            sign(Algorithm::HS256, &SECRET.replace('0', "1"), &right),
        ),
        ("another algorithm", sign(Algorithm::HS384, SECRET, &right)),
        ("no signature", unsigned),
        ("another payload", tampered),
        (
            "expired",
            sign(Algorithm::HS256, SECRET, &with(json!({"exp": now() - 60}))),
        ),
        (
            "never expires",
            sign(Algorithm::HS256, SECRET, &with(json!({"exp": null}))),
        ),
        (
            "not yet",
            sign(Algorithm::HS256, SECRET, &with(json!({"nbf": now() + 600}))),
        ),
        (
            "another audience",
            sign(Algorithm::HS256, SECRET, &with(json!({"aud": "anon"}))),
        ),
        (
            "no audience",
            sign(Algorithm::HS256, SECRET, &with(json!({"aud": null}))),
        ),
        (
            "another issuer",
            sign(Algorithm::HS256, SECRET, &with(json!({"iss": "them"}))),
        ),
        ("no issuer", sign(Algorithm::HS256, SECRET, &with(json!({"iss": null})))),
        ("no user", sign(Algorithm::HS256, SECRET, &with(json!({"sub": null})))),
        (
            "a user that is none",
            sign(Algorithm::HS256, SECRET, &with(json!({"sub": "root"}))),
        ),
        (
            "no tenant",
            sign(Algorithm::HS256, SECRET, &with(json!({"app_metadata": {}}))),
        ),
        (
            "the user's own tenant claim",
            sign(Algorithm::HS256, SECRET, &with(json!({"app_metadata": null}))),
        ),
        (
            "a tenant that is none",
            sign(
                Algorithm::HS256,
                SECRET,
                &with(json!({"app_metadata": {"tenant_id": "*"}})),
            ),
        ),
        (
            "another role",
            sign(
                Algorithm::HS256,
                SECRET,
                &with(json!({"app_metadata": {"tenant_id": tenant, "role": "service"}})),
            ),
        ),
    ];
    for (what, authorization) in &wrong {
        let (status, body) = ask(&app, &[("authorization", authorization)]).await;
        assert_eq!((status, body.as_str()), (StatusCode::UNAUTHORIZED, ""), "{what}");
    }
    assert_eq!(ask(&app, &[]).await.0, StatusCode::UNAUTHORIZED);
    assert_eq!(
        ask(&app, &[("authorization", &good), ("authorization", &good)]).await.0,
        StatusCode::UNAUTHORIZED
    );
    assert!(TenantContext::current().is_err());

    assert!(
        JwtVerifier::new(JwtAlgorithm::Hs256, b"short", "a")
            .unwrap_err()
            .to_string()
            .contains("32")
    );
    assert!(JwtVerifier::new(JwtAlgorithm::Rs256, b"no pem", "a").is_err());
    assert!(JwtVerifier::new(JwtAlgorithm::Es256, b"no pem", "a").is_err());
    assert!(JwtVerifier::new(JwtAlgorithm::EdDsa, b"no pem", "a").is_err());
    assert!(!format!("{verifier:?}").contains(SECRET));
}

#[tokio::test]
async fn a_proxy_is_believed_only_with_its_secret() {
    let app = app(TenantLayer::trusted_proxy(TrustedProxy::new(SECRET).unwrap()));
    let (tenant, user) = (TenantId::random().to_string(), UserId::random().to_string());
    let right = [
        ("x-proxy-secret", SECRET),
        ("x-tenant-id", tenant.as_str()),
        ("x-user-id", user.as_str()),
    ];
    assert_eq!(
        ask(&app, &right).await,
        (StatusCode::OK, format!("{tenant} Member({user}) false"))
    );
    let admin = [right[0], right[1], right[2], ("x-tenant-role", "admin")];
    assert_eq!(ask(&app, &admin).await.1, format!("{tenant} Admin({user}) false"));
    for wrong in [
        vec![right[1], right[2]],
        vec![
            ("x-proxy-secret", "0123456789abcdef0123456789abcdeF"),
            right[1],
            right[2],
        ],
        vec![("x-proxy-secret", "0"), right[1], right[2]],
        vec![right[0], right[2]],
        vec![right[0], right[1]],
        vec![right[0], ("x-tenant-id", "*"), right[2]],
        vec![right[0], right[1], right[1], right[2]],
        vec![right[0], right[1], right[2], ("x-tenant-role", "owner")],
    ] {
        assert_eq!(ask(&app, &wrong).await.0, StatusCode::UNAUTHORIZED, "{wrong:?}");
    }
    assert!(TrustedProxy::new("short").is_err());
}
