//! Signing in, and whose session a request belongs to.

use axum::http::HeaderMap;
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use chrono::Utc;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::Value as Json;
use sha2::Sha256;

use super::site::{Session, Site, fresh_id};
use super::wire::{self, Failure, Node};
use super::{Reply, Secrets, Shared, locked};

pub(super) const APP: &str = "demo-connected-app";
pub(super) const APP_KEY: &str = "demo-connected-app-key";
pub(super) const APP_SECRET: &str = "demo-connected-app-secret-5c1f";
/// What the connected app was granted. A JWT that asks for more is refused as a whole.
const GRANTED: [&str; 10] = [
    "tableau:content:read",
    "tableau:datasources:create",
    "tableau:datasources:update",
    "tableau:datasources:download",
    "tableau:file_uploads:create",
    "tableau:hyper_data:update",
    "tableau:projects:create",
    "tableau:tasks:run",
    "tableau:tasks:read",
    "tableau:jobs:read",
];
/// The content url of the second site.
const OTHER: &str = "other";

fn refused() -> Failure {
    Failure::new("401001", "Signin Error", "Error signing in to Tableau Server")
}

impl Shared {
    pub(super) fn session_node(&self, token: &str) -> Node {
        let site = locked(&self.site);
        let (id, content_url) = if site.sessions.get(token).is_some_and(|session| session.elsewhere) {
            (&site.other_id, OTHER)
        } else {
            (&site.id, site.content_url.as_str())
        };
        Node::new("session")
            .child(Node::new("site").with("id", id).with("contentUrl", content_url))
            .child(Node::new("user").with("id", &site.user).with("name", &self.secrets.user))
    }

    pub(super) fn sign_in(&self, headers: &HeaderMap, body: &[u8]) -> Reply {
        let request = wire::read(headers, body)?;
        let field = |name: &str| wire::text(&request, &["credentials", name]);
        let secrets = &self.secrets;
        let token_name = field("personalAccessTokenName");
        let token = (token_name, field("personalAccessTokenSecret"));
        let by_token = token == (Some(secrets.token_name.as_str()), Some(secrets.token_secret.as_str()))
            || secrets.more_tokens.iter().any(|(name, secret)| token == (Some(name.as_str()), Some(secret.as_str())));
        let by_password =
            field("name") == Some(secrets.user.as_str()) && field("password") == Some(secrets.password.as_str());
        let unified = wire::truth(&request, &["credentials", "isUat"]).unwrap_or(false);
        let mut site = locked(&self.site);
        let by_jwt = match field("jwt") {
            Some(token) if unified => self.switches.cloud && is_unified(token),
            Some(token) => self.is_from_app(&mut site, token),
            None => false,
        };
        let content_url = wire::text(&request, &["credentials", "site", "contentUrl"]).unwrap_or_default();
        if !(by_token || by_password || by_jwt) || content_url != site.content_url {
            return Err(refused());
        }
        if by_token {
            // A personal access token has one session: a new one ends the former.
            site.sessions.retain(|_, session| session.token_name.as_deref() != token_name);
        }
        let owner = token_name.filter(|_| by_token).map(str::to_owned);
        let credentials = open(&self.secrets, &mut site, owner, false);
        // Only tokens have a life of their own to tell of.
        Ok((200, vec![credentials.maybe("estimatedTimeToExpiration", by_token.then_some("177:05:38"))]))
    }

    /// Whether a JWT was made by the connected app, for now, for the first time, and asks for no more than was granted.
    fn is_from_app(&self, site: &mut Site, token: &str) -> bool {
        let parts: Vec<&str> = token.split('.').collect();
        let [header, claims, signature] = parts.as_slice() else { return false };
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(self.secrets.app_secret.as_bytes()) else { return false };
        mac.update(format!("{header}.{claims}").as_bytes());
        let signed =
            BASE64_URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| mac.verify_slice(&signature).is_ok());
        let (Some(header), Some(claims)) = (decoded(header), decoded(claims)) else { return false };
        let text = |name: &str| wire::text(&claims, &[name]).unwrap_or_default();
        let now = Utc::now().timestamp();
        let until = claims.get("exp").and_then(Json::as_i64).unwrap_or_default();
        let scopes = wire::entries(&claims, &["scp"]);
        let granted = scopes.iter().all(|scope| scope.as_str().is_some_and(|scope| GRANTED.contains(&scope)));
        let id = text("jti").to_owned();
        let sound = signed
            && wire::text(&header, &["alg"]) == Some("HS256")
            && wire::text(&header, &["kid"]) == Some(APP_KEY)
            && (text("iss"), text("aud"), text("sub")) == (APP, "tableau", self.secrets.user.as_str())
            && until > now
            && until <= now + 600
            && granted
            && !scopes.is_empty()
            && !id.is_empty()
            && !site.used.contains(&id);
        site.used.push(id);
        sound
    }

    /// The token of a request, if it belongs to a session.
    pub(super) fn check_session(&self, headers: &HeaderMap) -> Result<String, Failure> {
        let token = headers.get("x-tableau-auth").and_then(|token| token.to_str().ok()).unwrap_or_default();
        if locked(&self.site).sessions.contains_key(token) {
            return Ok(token.to_owned());
        }
        Err(Failure::new("401002", "Unauthorized Access", "Invalid authentication credentials were provided."))
    }

    /// Whether a session is at the site that everything lies on.
    pub(super) fn is_at_home(&self, token: &str) -> bool {
        locked(&self.site).sessions.get(token).is_some_and(|session| !session.elsewhere)
    }

    pub(super) fn switch_site(&self, token: &str, request: &Json) -> Reply {
        if self.switches.cloud {
            return Err(Failure::new("404003", "Resource Not Found", "Cloud has no such method."));
        }
        let wanted = wire::text(request, &["site", "contentUrl"]).unwrap_or_default();
        let mut site = locked(&self.site);
        let Some(session) = site.sessions.get(token).cloned() else { return Err(refused()) };
        let here = if session.elsewhere { OTHER } else { site.content_url.as_str() };
        if wanted == here {
            return Err(Failure::new("403070", "Forbidden", "The session is on this site already."));
        }
        if wanted != OTHER && wanted != site.content_url {
            return Err(Failure::new("401003", "Switch Site Error", "Error switching to the site."));
        }
        site.sessions.remove(token);
        let credentials = open(&self.secrets, &mut site, session.token_name, wanted == OTHER);
        Ok((200, vec![credentials]))
    }

    pub(super) fn site_node(&self) -> Node {
        let site = locked(&self.site);
        Node::new("site")
            .with("id", &site.id)
            .with("name", "Finance")
            .with("contentUrl", &site.content_url)
            .with("state", "Active")
            .with("adminMode", "ContentAndUsers")
            .with("extractEncryptionMode", "disabled")
    }

    pub(super) fn sites(&self, query: &super::Query) -> Reply {
        if self.switches.cloud {
            return Err(Failure::new("403069", "Forbidden", "Listing sites is not permitted."));
        }
        let here = self.site_node();
        let id = locked(&self.site).other_id.clone();
        let other =
            Node::new("site").with("id", id).with("name", "Other").with("contentUrl", OTHER).with("state", "Active");
        super::listing::page("sites", vec![(Vec::new(), here), (Vec::new(), other)], query)
    }
}

/// Opens a session and answers its credentials.
fn open(secrets: &Secrets, site: &mut Site, token_name: Option<String>, elsewhere: bool) -> Node {
    let (id, content_url) =
        if elsewhere { (site.other_id.clone(), OTHER.to_owned()) } else { (site.id.clone(), site.content_url.clone()) };
    let fresh = || format!("{}|{}", fresh_id(), fresh_id().replace('-', ""));
    let token = format!("{}|{id}", secrets.session.clone().unwrap_or_else(fresh));
    site.sessions.insert(token.clone(), Session { token_name, elsewhere });
    Node::new("credentials")
        .with("token", token)
        .child(Node::new("site").with("id", id).with("contentUrl", content_url))
        .child(Node::new("user").with("id", &site.user))
}

fn decoded(part: &str) -> Option<Json> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// The form of a unified access token; its signature (RS256) is not looked at.
fn is_unified(token: &str) -> bool {
    let mut parts = token.split('.');
    let (header, claims) = (parts.next().and_then(decoded), parts.next().and_then(decoded));
    let algorithm = header.as_ref().and_then(|header| wire::text(header, &["alg"]));
    algorithm == Some("RS256")
        && claims.is_some_and(|claims| wire::text(&claims, &["https://tableau.com/tenantId"]).is_some())
}
