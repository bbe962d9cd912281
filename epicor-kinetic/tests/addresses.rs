//! Where requests go and what they carry.

use std::time::Duration;

use epicor_kinetic::{Client, EntitySet, ErrorKind, License, Literal, Order, field};
use http::Method;
use serde_json::{Value, json};

use crate::fake;

#[tokio::test]
async fn a_query_is_written_as_the_server_expects_it() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    client
        .entity_set(EntitySet::VENDORS)
        .select(["VendorNum", "Name"])
        .filter(field("Name").eq("O'Neill & Söhne + 100%"))
        .order_by("Name", Order::Descending)
        .order_by("VendorNum", Order::Ascending)
        .expand("VendorPPs")
        .top(5)
        .skip(10)
        .count()
        .send::<Value>()
        .await
        .unwrap();
    let request = log.last();
    assert_eq!(request.method(), Method::GET);
    assert_eq!(request.uri().path(), "/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/Vendors");
    let wanted = [
        ("$select", "VendorNum,Name"),
        ("$expand", "VendorPPs"),
        ("$filter", "Name eq 'O''Neill & Söhne + 100%'"),
        ("$orderby", "Name desc,VendorNum"),
        ("$top", "5"),
        ("$skip", "10"),
        ("$count", "true"),
    ];
    let wanted: Vec<_> = wanted.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(fake::query(&request), wanted);
    let text = request.uri().query().unwrap();
    assert!(text.contains("eq%20") && !text.contains('+'), "{text}");
}

#[tokio::test]
async fn top_is_sent_even_when_nobody_asked() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    client.entity_set(EntitySet::PARTS).bytes().await.unwrap();
    assert_eq!(fake::option(&log.last(), "$top").as_deref(), Some("100"));
}

#[tokio::test]
async fn key_identity_and_licence_travel_in_headers_only() {
    let (builder, log) = fake::builder(|_, _| fake::rows(&[]));
    let client = builder.plant("MfgSys").language("en-üs").build().unwrap();
    client.ping().await.unwrap();
    let request = log.last();
    let headers = request.headers();
    assert_eq!(headers["x-api-key"], "CANARY-KEY-1");
    assert!(headers["x-api-key"].is_sensitive() && headers["authorization"].is_sensitive());
    assert_eq!(headers["license"], r#"{"ClaimedLicense":"00000003-9439-4B30-A6F4-6D2FD4B9FD0F"}"#);
    let settings: Value = serde_json::from_str(headers["callsettings"].to_str().unwrap()).unwrap();
    assert_eq!(settings, serde_json::json!({ "Company": "EPIC06", "Plant": "MfgSys", "Language": "en-üs" }));
    assert!(!request.uri().to_string().contains("CANARY"));
    assert!(!format!("{client:?} {request:?}").contains("CANARY"));
}

#[tokio::test]
async fn without_a_licence_claim_and_settings_there_are_no_such_headers() {
    let (builder, log) = fake::builder(|_, _| fake::rows(&[]));
    let client = builder.license(License::None).build().unwrap();
    client.ping().await.unwrap();
    let request = log.last();
    assert!(!request.headers().contains_key("license") && !request.headers().contains_key("callsettings"));
}

#[tokio::test]
async fn another_company_is_another_path_and_nothing_else() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    let other = client.for_company("EPIC 07").unwrap();
    other.ping().await.unwrap();
    assert_eq!(log.last().uri().path(), "/live/api/v2/odata/EPIC%2007/Erp.BO.VendorSvc/Vendors");
    assert_eq!((client.company(), other.company()), ("EPIC06", "EPIC 07"));
    assert_eq!(client.for_company("../x").unwrap_err().kind(), ErrorKind::Config);
}

#[tokio::test]
async fn baq_parameters_are_plain_pairs_and_may_repeat() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    client
        .baq("KT-VendorSpend")
        .parameter("Plant", "MfgSys")
        .parameter("Vendor", "A&B")
        .parameter("Vendor", "C")
        .top(7)
        .send::<Value>()
        .await
        .unwrap();
    let request = log.last();
    assert_eq!(request.uri().path(), "/live/api/v2/odata/EPIC06/BaqSvc/KT-VendorSpend/Data");
    let pairs = [("Plant", "MfgSys"), ("Vendor", "A&B"), ("Vendor", "C"), ("$top", "7")];
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    assert_eq!(fake::query(&request), pairs);
    let injected = client.baq("Q").parameter("$top", "1").send::<Value>().await.unwrap_err();
    assert_eq!(injected.kind(), ErrorKind::Config);
    let set = client.entity_set(EntitySet::PARTS).parameter("A", "1").send::<Value>().await.unwrap_err();
    assert_eq!(set.kind(), ErrorKind::Config);
    assert_eq!(log.len(), 1);
}

#[tokio::test]
async fn a_row_is_found_by_its_positional_key() {
    let (client, log) = fake::client(|_, _| fake::answer(200, r#"{"InvoiceNum":"A 1'#?"}"#));
    let row: Value = client
        .entity_set(EntitySet::AP_INVOICES)
        .select(["InvoiceNum"])
        .get([Literal::from("EPIC06"), Literal::from(1042), Literal::from("A 1'#?")])
        .await
        .unwrap();
    assert_eq!(row["InvoiceNum"], "A 1'#?");
    assert_eq!(
        log.last().uri().to_string(),
        "https://erp.example.com/live/api/v2/odata/EPIC06/Erp.BO.APInvoiceSvc/\
         APInvoices(%27EPIC06%27,1042,%27A%201%27%27%23%3F%27)?$select=InvoiceNum"
    );
}

#[tokio::test]
async fn a_key_with_a_slash_becomes_a_filter_since_servers_lose_it_in_the_path() {
    let (client, log) = fake::client(|number, _| match number {
        1 => fake::rows(&[json!({ "InvoiceNum": "A/1" })]),
        2 => fake::rows(&[]),
        _ => fake::rows(&[json!({}), json!({})]),
    });
    let get = || {
        let query = client.entity_set(EntitySet::AP_INVOICES).select(["InvoiceNum"]).filter(field("Posted").eq(true));
        async move { query.get::<Value>(["EPIC06".into(), 1042.into(), "A/1".into()]).await }
    };
    assert_eq!(get().await.unwrap()["InvoiceNum"], "A/1");
    assert_eq!(
        fake::option(&log.last(), "$filter").unwrap(),
        "Posted eq true and Company eq 'EPIC06' and VendorNum eq 1042 and InvoiceNum eq 'A/1'"
    );
    assert_eq!(log.last().uri().path(), "/live/api/v2/odata/EPIC06/Erp.BO.APInvoiceSvc/APInvoices");
    assert_eq!(get().await.unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(get().await.unwrap_err().kind(), ErrorKind::Decode);
    let own = client.entity_set(EntitySet::new("Erp.BO.OwnSvc", "Owns").unwrap());
    assert_eq!(own.get::<Value>(["a\\b".into()]).await.unwrap_err().kind(), ErrorKind::Config);
    assert_eq!(log.len(), 3);
}

#[tokio::test]
async fn a_key_that_cannot_be_right_is_refused_with_the_names_of_its_columns() {
    let (client, log) = fake::client(|_, _| fake::answer(200, "{}"));
    let invoices = client.entity_set(EntitySet::AP_INVOICES);
    let short = invoices.get::<Value>(["EPIC06".into(), 7.into()]).await.unwrap_err();
    assert!(short.to_string().contains("Company, VendorNum, InvoiceNum"), "{short}");
    for key in [vec![], vec!["EPIC06".into(), 7.into(), Literal::null()]] {
        assert_eq!(invoices.get::<Value>(key).await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert_eq!(log.len(), 0);
}

#[tokio::test]
async fn the_way_out_stays_below_the_root() {
    let (client, log) = fake::client(|_, _| fake::answer(200, r#"{"out":1}"#));
    let answer = client
        .request(Method::POST, "api/v2/efx/EPIC06/Lib/Fn/?a=1")
        .query("b", "x y&z")
        .json(&serde_json::json!({ "in": 1 }))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.json::<Value>().unwrap()["out"], 1);
    let request = log.last();
    assert_eq!(request.uri().path(), "/live/api/v2/efx/EPIC06/Lib/Fn/");
    assert_eq!(fake::option(&request, "b").as_deref(), Some("x y&z"));
    for path in ["https://evil.example.com/x", "//evil.example.com/x", "../../x", "https://erp.example.com/other"] {
        let error = client.request(Method::GET, path).send().await.unwrap_err();
        assert!(log.len() == 1, "{path} was sent");
        assert_eq!(error.kind(), ErrorKind::Config);
    }
}

#[tokio::test]
async fn names_that_are_none_are_refused_before_anything_is_sent() {
    let (client, log) = fake::client(|_, _| fake::rows(&[]));
    let queries = [
        client.entity_set(EntitySet::PARTS).select(["A,B"]),
        client.entity_set(EntitySet::PARTS).order_by("A desc", Order::Ascending),
        client.entity_set(EntitySet::PARTS).expand("A($filter=1)"),
        client.baq("../Erp.BO.PartSvc"),
        client.baq(""),
        client.baq(".."),
    ];
    for query in queries {
        assert_eq!(query.send::<Value>().await.unwrap_err().kind(), ErrorKind::Config);
    }
    assert!(client.metadata("../..").await.is_err());
    assert_eq!(log.len(), 0);
}

#[test]
fn a_client_that_cannot_work_is_not_built() {
    let good = || Client::builder("https://erp.example.com/live").company("EPIC06").api_key("k").basic("u", "p");
    let root = |root: &str| Client::builder(root).company("EPIC06").api_key("k").basic("u", "p");
    for (what, builder) in [
        ("no address", root("erp")),
        ("plain http", root("http://erp.example.com/live")),
        ("password in the address", root("https://u:CANARY@erp.example.com/live")),
        ("query", root("https://erp.example.com/live?x=1")),
        ("too deep", root("https://erp.example.com/live/api/v2/odata")),
        ("other scheme", root("ftp://erp.example.com/live")),
        ("no company", good().company(" ")),
        ("odd company", good().company("a/b")),
        ("no key", good().api_key(" ")),
        ("odd key", good().api_key("CANARY\n")),
        ("odd user", good().basic("CANARY:x", "p")),
        ("no user", good().token_resource("", "p")),
        ("odd password", good().token_resource("u", "CANARY\r\nx: y")),
        ("no time", good().timeout(Duration::ZERO)),
        ("licence", good().license(License::Claim("web".to_owned()))),
        ("no identity", Client::builder("https://erp.example.com").company("A").api_key("k")),
    ] {
        let text = format!("{builder:?}");
        match builder.build() {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Config, "{what}");
                assert!(!format!("{text} {error} {error:?}").contains("CANARY"), "{what}: {error:?}");
            }
            // A key is trimmed, so that a line end from a file does no harm.
            Ok(_) => assert_eq!(what, "odd key"),
        }
    }
    #[cfg(feature = "reqwest")]
    for allowed in [
        root("http://127.0.0.1:8080/x"),
        root("http://localhost/x"),
        root("http://[::1]/x"),
        root("http://erp/x").allow_http(true),
    ] {
        assert!(allowed.build().is_ok());
    }
}
