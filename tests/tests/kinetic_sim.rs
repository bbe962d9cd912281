//! The Kinetic simulator by itself, asked in plain HTTP: a simulator that is wrong makes every other test worthless.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::RequestBuilder;
use serde_json::{Value as Json, json};
use simulators::faults::{Effect, Fault};
use simulators::kinetic::{DateForm, KineticSim, KineticSimBuilder, Seed, Value};

const VENDORS: &str = "Erp.BO.VendorSvc/Vendors";
const INVOICES: &str = "Erp.BO.APInvoiceSvc/APInvoices";

async fn company(builder: KineticSimBuilder, seed: Seed) -> KineticSim {
    let sim = builder.start().await.unwrap();
    sim.seed(seed);
    sim
}

async fn default_company() -> KineticSim {
    company(KineticSim::builder(), Seed::default()).await
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn path(set: &str, options: &[(&str, &str)]) -> String {
    let options: Vec<String> = options.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    format!("/api/v2/odata/EPIC06/{set}?{}", options.join("&"))
}

fn identified(sim: &KineticSim, request: RequestBuilder) -> RequestBuilder {
    request.header("x-api-key", sim.api_key()).basic_auth(sim.user(), Some(sim.password()))
}

async fn get_path(sim: &KineticSim, path: &str) -> (u16, Json) {
    let request = reqwest::Client::new().get(format!("{}{path}", sim.url()));
    let response = identified(sim, request).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn get(sim: &KineticSim, set: &str, options: &[(&str, &str)]) -> (u16, Json) {
    get_path(sim, &path(set, options)).await
}

async fn rows(sim: &KineticSim, set: &str, options: &[(&str, &str)]) -> Vec<Json> {
    let (status, body) = get(sim, set, options).await;
    assert_eq!(status, 200, "{body}");
    body["value"].as_array().unwrap().clone()
}

async fn call(sim: &KineticSim, method: &str, body: &Json) -> (u16, Json) {
    let request = reqwest::Client::new().post(format!("{}/api/v2/odata/EPIC06/{method}", sim.url())).json(body);
    let response = identified(sim, request).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

fn column(rows: &[Json], name: &str) -> Vec<Json> {
    rows.iter().map(|row| row[name].clone()).collect()
}

fn vendor_numbers(sim: &KineticSim, fits: impl Fn(&simulators::kinetic::Row) -> bool) -> Vec<i64> {
    let rows = sim.rows("Vendors").into_iter().filter(fits);
    let mut numbers: Vec<i64> = rows.map(|row| row.text("VendorNum").unwrap().parse().unwrap()).collect();
    numbers.sort_unstable();
    numbers
}

#[tokio::test]
async fn a_hundred_rows_come_unless_more_are_asked_for() {
    let sim = default_company().await;
    assert_eq!(rows(&sim, INVOICES, &[]).await.len(), 100);
    assert_eq!(rows(&sim, INVOICES, &[("$top", "450")]).await.len(), 450);
    assert!(rows(&sim, INVOICES, &[("$top", "0")]).await.is_empty());
    let (_, body) = get(&sim, INVOICES, &[("$count", "true"), ("$top", "3")]).await;
    assert_eq!(body["@odata.count"], sim.truth_count("APInvoices"));
    assert!(body["@odata.context"].is_string() && body["@odata.nextLink"].is_null());
}

#[tokio::test]
async fn a_cap_is_silent_and_next_links_are_a_switch() {
    let builder = KineticSim::builder().switches(|switches| (switches.cap, switches.next_links) = (Some(20), true));
    let sim = company(builder, Seed::default()).await;
    let (status, body) = get(&sim, VENDORS, &[("$top", "40"), ("$orderby", "VendorNum")]).await;
    assert_eq!((status, body["value"].as_array().unwrap().len()), (200, 20));
    assert!(body["@odata.nextLink"].as_str().unwrap().contains("$skip=20"));
}

#[tokio::test]
async fn rows_have_an_order_only_when_one_is_asked_for() {
    let sim = default_company().await;
    let asked = [("$top", "50"), ("$select", "VendorNum")];
    let (one, two) = (rows(&sim, VENDORS, &asked).await, rows(&sim, VENDORS, &asked).await);
    assert_ne!(one, two);
    let ordered = [("$top", "50"), ("$select", "VendorNum"), ("$orderby", "City desc,VendorNum")];
    assert_eq!(rows(&sim, VENDORS, &ordered).await, rows(&sim, VENDORS, &ordered).await);
    let quiet = company(KineticSim::builder().switches(|switches| switches.shuffle = false), Seed::default()).await;
    assert_eq!(rows(&quiet, VENDORS, &asked).await, rows(&quiet, VENDORS, &asked).await);
}

#[tokio::test]
async fn pages_by_row_version_bring_every_row_once() {
    let sim = default_company().await;
    let (mut last, mut seen) = (0, Vec::new());
    loop {
        let filter = format!("SysRevID gt {last}");
        let options = [("$filter", filter.as_str()), ("$orderby", "SysRevID"), ("$top", "73")];
        let page = rows(&sim, INVOICES, &options).await;
        let Some(end) = page.last() else { break };
        last = end["SysRevID"].as_i64().unwrap();
        seen.extend(page.iter().map(|row| format!("{}|{}", row["VendorNum"], row["InvoiceNum"].as_str().unwrap())));
    }
    assert!(last > i64::from(i32::MAX), "the versions are past 32 bits");
    let mut truth: Vec<String> = sim
        .rows("APInvoices")
        .iter()
        .map(|row| format!("{}|{}", row.text("VendorNum").unwrap(), row.text("InvoiceNum").unwrap()))
        .collect();
    seen.sort();
    truth.sort();
    assert_eq!(seen, truth);
}

#[tokio::test]
async fn filters_mean_what_they_say() {
    let sim = default_company().await;
    sim.database().write(
        "Vendors",
        [("VendorNum", 1_001.into()), ("Name", "O'Hara (and) sons".into()), ("DueDiligence_c", Value::Null)],
    );
    let text = |row: &simulators::kinetic::Row, name: &str| row.text(name).unwrap_or_default();
    let number = |row: &simulators::kinetic::Row| text(row, "VendorNum").parse::<i64>().unwrap();
    let cases: Vec<(&str, Vec<i64>)> = vec![
        ("VendorNum eq 1004", vec![1_004]),
        ("VendorNum gt 1010 and VendorNum le 1013", vec![1_011, 1_012, 1_013]),
        ("VendorNum in (1003,1005)", vec![1_003, 1_005]),
        ("(VendorNum lt 1002 or VendorNum ge 1048) and not (VendorNum eq 1000)", vec![1_001, 1_048, 1_049]),
        ("VendorNum eq 1000 or VendorNum eq 1001 and VendorNum eq 1002", vec![1_000]),
        ("Name eq 'O''Hara (and) sons'", vec![1_001]),
        ("Inactive eq true", vendor_numbers(&sim, |row| text(row, "Inactive") == "true")),
        ("DueDiligence_c eq null", vendor_numbers(&sim, |row| row.get("DueDiligence_c") == Some(&Value::Null))),
        ("contains(Name,'東京')", vendor_numbers(&sim, |row| text(row, "Name").contains("東京"))),
        ("startswith(City,'Z') and endswith(City,'ich')", vendor_numbers(&sim, |row| text(row, "City") == "Zürich")),
        ("not contains(Name,'a')", vendor_numbers(&sim, |row| !text(row, "Name").contains('a'))),
        ("Rating_c ne 3", vendor_numbers(&sim, |row| text(row, "Rating_c") != "3")),
        (
            "DueDiligence_c ge 2025-01-01T00:00:00Z",
            vendor_numbers(&sim, |row| text(row, "DueDiligence_c").as_str() >= "2025-01-01"),
        ),
        ("DueDiligence_c lt 2025-01-01", {
            let known = |row: &simulators::kinetic::Row| row.text("DueDiligence_c");
            vendor_numbers(&sim, |row| known(row).is_some_and(|date| date.as_str() < "2025-01-01"))
        }),
    ];
    assert!(sim.rows("Vendors").iter().any(|row| number(row) == 1_049));
    for (filter, expected) in cases {
        assert!(!expected.is_empty(), "{filter}: a case that matches nothing proves nothing");
        let found = rows(&sim, VENDORS, &[("$filter", filter), ("$orderby", "VendorNum"), ("$top", "999")]).await;
        let found: Vec<i64> = found.iter().map(|row| row["VendorNum"].as_i64().unwrap()).collect();
        assert_eq!(found, expected, "{filter}");
    }
}

#[tokio::test]
async fn amounts_are_compared_and_written_exactly() {
    let sim = KineticSim::builder().start().await.unwrap();
    for (nth, amount) in ["12345678901234567.890", "12345678901234567.891", "-0.005", "0.000"].into_iter().enumerate() {
        let number = i64::try_from(nth).unwrap();
        let amount = Value::decimal(amount);
        sim.database()
            .write("APInvoices", [("VendorNum", number.into()), ("InvoiceNum", "I".into()), ("InvoiceAmt", amount)]);
    }
    let request = reqwest::Client::new().get(format!(
        "{}{}",
        sim.url(),
        path(INVOICES, &[("$select", "InvoiceAmt"), ("$filter", "InvoiceAmt gt 12345678901234567.89")])
    ));
    let body = identified(&sim, request).send().await.unwrap().text().await.unwrap();
    assert!(
        body.contains("{\"InvoiceAmt\":12345678901234567.891}") && body.matches("InvoiceAmt").count() == 1,
        "{body}"
    );
    let negative = rows(&sim, INVOICES, &[("$filter", "InvoiceAmt lt 0"), ("$select", "VendorNum")]).await;
    assert_eq!(negative, [json!({"VendorNum": 2})]);
}

#[tokio::test]
async fn names_are_strict_and_refusals_have_the_documented_form() {
    let sim = default_company().await;
    let refused = [
        [("$filter", "vendorNum eq 1")],
        [("$select", "VendorNum,Nothing")],
        [("$orderby", "Nothing")],
        [("$expand", "Lines")],
        [("$filter", "VendorNum eq 'text'")],
        [("$filter", "VendorNum eq")],
        [("$filter", "Name eq 'open")],
        [("$search", "x")],
        [("$top", "many")],
    ];
    for options in refused {
        let (status, body) = get(&sim, VENDORS, &options).await;
        assert_eq!((status, &body["HttpStatus"]), (400, &json!(400)), "{options:?}");
        assert!(body["ErrorType"].as_str().unwrap().ends_with("ODataException"), "{options:?}");
        assert!(body["CorrelationId"].is_string() && body["ReasonPhrase"] == "REST API Exception");
    }
    let (_, body) = get(&sim, VENDORS, &[("$select", "Nothing")]).await;
    assert_eq!(body["ErrorMessage"], "Could not find a property named 'Nothing' on type 'Erp.Vendor'.");
    for set in ["Erp.BO.NoSvc/Vendors", "Erp.BO.VendorSvc/vendors", "Erp.BO.VendorSvc/APInvoices"] {
        let (status, body) = get(&sim, set, &[]).await;
        assert_eq!(status, 404, "{set}");
        assert!(body["ErrorType"].as_str().unwrap().ends_with("ApiException"), "{set}");
    }
    // Service names are taken in any case, as on real servers.
    assert_eq!(get(&sim, "erp.bo.vendorsvc/Vendors", &[]).await.0, 200);
    assert_eq!(get_path(&sim, "/api/v2/odata/OTHER/Erp.BO.VendorSvc/Vendors").await.0, 400);
}

#[tokio::test]
async fn single_rows_are_found_by_positional_keys() {
    // Some servers lose a slash in a key, as the simulated one does unless switched.
    let losing = KineticSim::builder().start().await.unwrap();
    losing.database().write("APInvoices", [("VendorNum", 9.into()), ("InvoiceNum", "A/7".into())]);
    assert_eq!(get_path(&losing, &format!("/api/v2/odata/EPIC06/{INVOICES}('EPIC06',9,'A%2F7')")).await.0, 404);
    let sim = KineticSim::builder().switches(|switches| switches.slash_breaks_keys = false).start().await.unwrap();
    for number in ["A/7", "O'H, (x)", ""] {
        sim.database().write("APInvoices", [("VendorNum", 9.into()), ("InvoiceNum", number.into())]);
        let key = format!("{INVOICES}('EPIC06',9,'{}')", encoded(&number.replace('\'', "''")));
        let (status, body) = get_path(&sim, &format!("/api/v2/odata/EPIC06/{key}?$select=InvoiceNum")).await;
        assert_eq!((status, &body["InvoiceNum"]), (200, &json!(number)));
    }
    let (status, body) = get_path(&sim, &format!("/api/v2/odata/EPIC06/{INVOICES}('EPIC06',9,'none')")).await;
    assert_eq!(status, 404);
    assert!(body["ErrorType"].as_str().unwrap().ends_with("RecordNotFoundException"));
}

#[tokio::test]
async fn lines_come_with_their_order_and_not_to_a_filter() {
    let sim = default_company().await;
    let order = rows(&sim, "Erp.BO.POSvc/POes", &[("$filter", "PONum eq 3007"), ("$expand", "PODetails,PORels")]).await;
    assert_eq!(column(order[0]["PODetails"].as_array().unwrap(), "PONUM"), [3_007, 3_007]);
    assert_eq!(column(order[0]["PORels"].as_array().unwrap(), "POLine"), [1, 2]);
    let filter = [("$filter", "PONUM eq 3007")];
    assert!(rows(&sim, "Erp.BO.POSvc/PODetails", &filter).await.is_empty());
    assert_eq!(rows(&sim, "Erp.BO.POSvc/PORels", &[("$filter", "PONum eq 3007")]).await.len(), 2);
    let mended =
        company(KineticSim::builder().switches(|switches| switches.empty_details = false), Seed::default()).await;
    assert_eq!(rows(&mended, "Erp.BO.POSvc/PODetails", &filter).await.len(), 2);
}

#[tokio::test]
async fn dates_have_the_form_of_the_switch() {
    for (form, suffix) in [(DateForm::Bare, ""), (DateForm::Zulu, "Z"), (DateForm::Offset(-300), "-05:00")] {
        let builder = KineticSim::builder().switches(|switches| switches.date_form = form);
        let sim = company(builder, Seed::default()).await;
        let found = rows(&sim, INVOICES, &[("$orderby", "SysRevID"), ("$top", "20")]).await;
        let truth: Vec<Json> = sim
            .rows("APInvoices")
            .iter()
            .take(20)
            .map(|row| row.text("InvoiceDate").map_or(Json::Null, |date| format!("{date}T00:00:00{suffix}").into()))
            .collect();
        assert_eq!(column(&found, "InvoiceDate"), truth);
    }
}

#[tokio::test]
async fn metadata_names_keys_types_and_children_that_exist() {
    for facets in [true, false] {
        let sim = KineticSim::builder().switches(|switches| switches.facets = facets).start().await.unwrap();
        let request = reqwest::Client::new().get(format!("{}/api/v2/odata/EPIC06/Erp.BO.POSvc/$metadata", sim.url()));
        let edmx = identified(&sim, request).send().await.unwrap().text().await.unwrap();
        assert!(
            edmx.contains("<PropertyRef Name=\"PONum\"/>") && edmx.contains("Name=\"SysRevID\" Type=\"Edm.Int64\"")
        );
        assert_eq!(edmx.contains("Precision=\"20\" Scale=\"3\""), facets);
        for child in edmx.split("Collection(Erp.").skip(1).map(|rest| rest.split(')').next().unwrap()) {
            assert!(edmx.contains(&format!("<EntityType Name=\"{child}\">")), "{child} is a type of the same document");
        }
        assert!(edmx.contains("Collection(Erp.PORel)"));
    }
}

async fn refusal(request: RequestBuilder) -> (u16, bool, String) {
    let response = request.send().await.unwrap();
    let (status, challenged) = (response.status().as_u16(), response.headers().contains_key("www-authenticate"));
    let body: Json = response.json().await.unwrap();
    assert_eq!(body["ErrorType"], "System.UnauthorizedAccessException");
    (status, challenged, body["ErrorMessage"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn key_and_identity_are_both_needed() {
    let sim = default_company().await;
    let ask = || reqwest::Client::new().get(format!("{}{}", sim.url(), path(VENDORS, &[])));
    let (status, challenged, message) =
        refusal(ask().header("x-api-key", "canary-key").basic_auth(sim.user(), Some(sim.password()))).await;
    assert_eq!((status, challenged), (401, false));
    assert!(message.starts_with("Invalid API Key") && message.contains("canary-key"), "the key is echoed");
    let wrong = refusal(ask().header("x-api-key", sim.api_key()).basic_auth(sim.user(), Some("wrong"))).await;
    assert_eq!(wrong, (401, false, "Invalid username or password.".to_owned()));
    assert!(refusal(ask().header("x-api-key", sim.api_key())).await.1, "without an identity it asks for one");
    assert_eq!(refusal(ask().basic_auth(sim.user(), Some(sim.password()))).await.0, 401);
}

#[tokio::test]
async fn a_scope_refuses_with_the_status_of_the_switch() {
    for status in [401, 403] {
        let builder = KineticSim::builder().switches(|switches| {
            (switches.forbidden, switches.forbidden_status) = (vec!["Erp.BO.VendorSvc".to_owned()], status);
        });
        let sim = company(builder, Seed::default()).await;
        let (found, body) = get(&sim, VENDORS, &[]).await;
        assert_eq!(found, status);
        assert!(body["ErrorMessage"].as_str().unwrap().starts_with("Access denied (Erp.BO.Vendor"));
        assert_eq!(get(&sim, INVOICES, &[]).await.0, 200);
    }
}

#[tokio::test]
async fn tokens_are_good_until_they_are_used_up() {
    let sim = company(KineticSim::builder().switches(|switches| switches.token_uses = 2), Seed::default()).await;
    let http = reqwest::Client::new();
    let ask = || {
        let request = http.post(format!("{}/TokenResource.svc/", sim.url()));
        request.header("username", sim.user()).header("password", sim.password())
    };
    let xml = ask().send().await.unwrap().text().await.unwrap();
    assert!(xml.contains("<AccessToken>") && xml.contains("<ExpiresIn>3600</ExpiresIn>"));
    let body: Json = ask().header("accept", "application/json").send().await.unwrap().json().await.unwrap();
    assert_eq!((&body["ExpiresIn"], &body["TokenType"]), (&json!(3_600), &json!("Bearer")));
    let token = body["AccessToken"].as_str().unwrap();
    let read = || {
        let request = http.get(format!("{}{}", sim.url(), path(VENDORS, &[])));
        request.header("x-api-key", sim.api_key()).bearer_auth(token).send()
    };
    let statuses = [read().await, read().await, read().await].map(|response| response.unwrap().status().as_u16());
    assert_eq!(statuses, [200, 200, 401]);
    let wrong = http.post(format!("{}/TokenResource.svc/", sim.url())).header("username", sim.user());
    assert_eq!(wrong.header("password", "wrong").send().await.unwrap().status(), 401);
}

#[tokio::test]
async fn client_credentials_bring_a_token() {
    let sim = default_company().await;
    let (id, secret) = sim.client_credentials();
    let form =
        |secret: &str| format!("grant_type=client_credentials&client_id={id}&client_secret={secret}&scope=epicor_erp");
    let ask = |form: String| reqwest::Client::new().post(sim.oauth2_url()).body(form).send();
    let body: Json = ask(form(secret)).await.unwrap().json().await.unwrap();
    let request = reqwest::Client::new().get(format!("{}{}", sim.url(), path(VENDORS, &[])));
    let request = request.header("x-api-key", sim.api_key()).bearer_auth(body["access_token"].as_str().unwrap());
    assert_eq!(request.send().await.unwrap().status(), 200);
    assert_eq!(ask(form("wrong")).await.unwrap().status(), 400);
}

#[tokio::test]
async fn a_vendor_is_made_changed_and_deleted_by_methods() {
    let sim = default_company().await;
    let (_, fresh) = call(&sim, "Erp.BO.VendorSvc/GetNewVendor", &json!({"ds": {}})).await;
    let mut ds = fresh["parameters"]["ds"].clone();
    assert_eq!(ds["Vendor"][0]["RowMod"], "A");
    ds["Vendor"][0]["VendorID"] = "FRESH".into();
    ds["Vendor"][0]["Name"] = "Ñandú".into();
    let (status, saved) = call(&sim, "Erp.BO.VendorSvc/Update", &json!({"ds": ds})).await;
    assert_eq!(status, 200, "{saved}");
    let saved = &saved["parameters"]["ds"]["Vendor"][0];
    let number = saved["VendorNum"].as_i64().unwrap();
    assert!(number > 0 && saved["SysRevID"] == sim.database().revision());

    let id = json!({"vendorNum": number});
    let (_, read) = call(&sim, "Erp.BO.VendorSvc/GetByID", &id).await;
    let before = read["returnObj"]["Vendor"][0].clone();
    let mut after = before.clone();
    after["Name"] = "Renamed".into();
    after["RowMod"] = "U".into();
    let change = json!({"ds": {"Vendor": [before, after]}});
    assert_eq!(call(&sim, "Erp.BO.VendorSvc/Update", &change).await.0, 200);
    // The same change again was made from a row version that is gone.
    let (status, stale) = call(&sim, "Erp.BO.VendorSvc/Update", &change).await;
    assert_eq!((status, &stale["ErrorType"]), (400, &json!("Ice.Common.BusinessObjectException")));
    assert!(stale["ErrorMessage"].as_str().unwrap().contains("modified by another user"));
    let (_, read) = call(&sim, "Erp.BO.VendorSvc/GetByID", &id).await;
    let row = &read["returnObj"]["Vendor"][0];
    assert_eq!((&row["Name"], &row["VendorID"]), (&json!("Renamed"), &json!("FRESH")));

    assert_eq!(call(&sim, "Erp.BO.VendorSvc/DeleteByID", &id).await.0, 200);
    assert_eq!(call(&sim, "Erp.BO.VendorSvc/GetByID", &id).await.0, 404);
    assert_eq!(call(&sim, "Erp.BO.VendorSvc/NoMethod", &id).await.0, 404);
}

#[tokio::test]
async fn a_refused_row_undoes_the_whole_update() {
    let sim = default_company().await;
    let before = sim.rows("Vendors");
    let good = json!({"VendorNum": 7_001, "Name": "new", "RowMod": "A"});
    let duplicate = json!({"VendorNum": 1_000, "Name": "again", "RowMod": "A"});
    let (status, body) = call(&sim, "Erp.BO.VendorSvc/Update", &json!({"ds": {"Vendor": [good, duplicate]}})).await;
    assert_eq!(status, 409);
    assert!(body["ErrorType"].as_str().unwrap().ends_with("DuplicateRecordException"));
    assert_eq!(sim.rows("Vendors"), before);
}

#[tokio::test]
async fn update_empties_what_is_missing_and_update_ext_keeps_it() {
    let sim = default_company().await;
    let change = |number: i64| json!({"ds": {"Vendor": [{"VendorNum": number, "Name": "short", "RowMod": "U"}]}});
    assert_eq!(call(&sim, "Erp.BO.VendorSvc/Update", &change(1_001)).await.0, 200);
    let (status, body) = call(&sim, "Erp.BO.VendorSvc/UpdateExt", &change(1_002)).await;
    assert_eq!((status, &body["parameters"]["errorsOccurred"]), (200, &json!(false)));
    let filter = [("$filter", "VendorNum in (1001,1002)"), ("$orderby", "VendorNum")];
    let found = rows(&sim, VENDORS, &filter).await;
    assert_eq!(column(&found, "Name"), ["short", "short"]);
    assert_eq!(column(&found, "VendorID"), ["", "V1002"]);
}

#[tokio::test]
async fn update_ext_fails_inside_of_a_success() {
    let sim = default_company().await;
    let unknown = json!({"ds": {"Vendor": [{"VendorNum": 99_999, "Name": "x", "RowMod": "U"}]}});
    let (status, body) = call(&sim, "Erp.BO.VendorSvc/UpdateExt", &unknown).await;
    assert_eq!((status, &body["parameters"]["errorsOccurred"]), (200, &json!(true)));
    assert_eq!(body["returnObj"]["BOUpdError"][0]["TableName"], "Vendor");
}

fn update_master(ds: &Json) -> Json {
    json!({"ds": ds, "cGroupID": "G1", "cTableName": "APInvHed", "runChkCPay": false, "runChkBankRef": false,
        "runChkRevChrg": false, "suppressUserPrompts": false})
}

#[tokio::test]
async fn update_master_says_in_two_flags_whether_it_saved() {
    for asks in [false, true] {
        let builder = KineticSim::builder().switches(|switches| switches.update_master_asks = asks);
        let sim = company(builder, Seed::default()).await;
        let invoice = json!({"APInvHed": [{"VendorNum": 1_000, "InvoiceNum": "UM-1", "GroupID": "G1", "RowMod": "A"}]});
        let (status, body) = call(&sim, "Erp.BO.APInvoiceSvc/UpdateMaster", &update_master(&invoice)).await;
        let outputs = body["parameters"].as_object().unwrap();
        assert_eq!((status, outputs.len()), (200, 9));
        assert_eq!((&outputs["requiresUserInput"], &outputs["lUpdateRan"]), (&json!(asks), &json!(!asks)));
        let saved = rows(&sim, INVOICES, &[("$filter", "InvoiceNum eq 'UM-1'")]).await;
        assert_eq!(saved.is_empty(), asks);
    }
}

#[tokio::test]
async fn a_group_belongs_to_one_user_at_a_time() {
    let sim = default_company().await;
    sim.database().write("APInvGrps", [("GroupID", "G1".into()), ("ActiveUserID", "somebody".into())]);
    let invoice = json!({"APInvHed": [{"VendorNum": 1_000, "InvoiceNum": "G-1", "GroupID": "G1", "RowMod": "A"}]});
    let save = update_master(&invoice);
    let group = json!({"groupID": "G1", "ds": {}});
    assert_eq!(call(&sim, "Erp.BO.APInvoiceSvc/UpdateMaster", &save).await.0, 400);
    assert_eq!(call(&sim, "Erp.BO.APInvGrpSvc/LockAPGroup", &group).await.0, 400);
    sim.database().write("APInvGrps", [("GroupID", "G1".into()), ("ActiveUserID", "".into())]);
    let (_, locked) = call(&sim, "Erp.BO.APInvGrpSvc/LockAPGroup", &group).await;
    assert_eq!(locked["parameters"]["ds"]["APInvGrp"][0]["ActiveUserID"], sim.user());
    assert_eq!(call(&sim, "Erp.BO.APInvoiceSvc/UpdateMaster", &save).await.0, 200);
    assert_eq!(call(&sim, "Erp.BO.APInvGrpSvc/UnlockGroup", &json!({"InGroupID": "G1"})).await.0, 200);
    assert_eq!(sim.rows("APInvGrps")[0].text("ActiveUserID").as_deref(), Some(""));
}

#[tokio::test]
async fn get_rows_takes_a_clause_for_each_table_and_pages_by_number() {
    let sim = default_company().await;
    let ask = |clause: &str, page: u64| {
        json!({"whereClausePOHeader": clause, "whereClausePODetail": "POLine = 2", "whereClausePORel": "",
            "pageSize": 4, "absolutePage": page})
    };
    let clause = "PONum >= 3010 AND PONum < 3017 BY PONum";
    let (status, first) = call(&sim, "Erp.BO.POSvc/GetRows", &ask(clause, 1)).await;
    assert_eq!(status, 200, "{first}");
    let table = |body: &Json, name: &str| body["returnObj"][name].as_array().unwrap().clone();
    assert_eq!(column(&table(&first, "POHeader"), "PONum"), [3_010, 3_011, 3_012, 3_013]);
    assert_eq!(first["parameters"]["morePages"], true);
    assert_eq!((table(&first, "PODetail").len(), table(&first, "PORel").len()), (4, 8));
    let (_, second) = call(&sim, "Erp.BO.POSvc/GetRows", &ask(clause, 2)).await;
    assert_eq!(column(&table(&second, "POHeader"), "PONum"), [3_014, 3_015, 3_016]);
    assert_eq!(second["parameters"]["morePages"], false);
    let (status, _) = call(&sim, "Erp.BO.POSvc/GetRows", &json!({"whereClausePOHeader": "", "pageSize": 0})).await;
    assert_eq!(status, 400, "every clause must be sent");
}

#[tokio::test]
async fn queries_are_read_with_their_parameters() {
    let sim = default_company().await;
    let set = "BaqSvc/KT-VendorSpend/Data";
    let all = rows(&sim, set, &[("$top", "999")]).await;
    assert_eq!(all.len(), sim.truth_count("Vendors"));
    assert!(all.iter().all(|row| row["RowIdent"].is_string() && row["Calculated_Spend"].is_number()));
    let rated = rows(&sim, set, &[("MinRating", "4"), ("$top", "999")]).await;
    let truth = vendor_numbers(&sim, |row| ["4", "5"].contains(&row.text("Rating_c").unwrap().as_str()));
    assert!(!truth.is_empty());
    assert_eq!(rated.len(), truth.len());
    let (_, descriptor) = get(&sim, "BaqSvc/KT-VendorSpend", &[]).await;
    assert_eq!(descriptor["value"][0]["name"], "Data");
    assert_eq!(get(&sim, "BaqSvc/None/Data", &[]).await.0, 404);
}

#[tokio::test]
async fn writes_move_the_version_but_for_those_that_nobody_sees() {
    let sim = default_company().await;
    let start = sim.database().revision();
    let newer = format!("SysRevID gt {start}");
    let newer = [("$filter", newer.as_str()), ("$orderby", "SysRevID")];
    sim.database().write_silently("Vendors", [("VendorNum", 1_003.into()), ("City", "Hidden".into())]);
    assert!(rows(&sim, VENDORS, &newer).await.is_empty());
    assert_eq!(rows(&sim, VENDORS, &[("$filter", "City eq 'Hidden'")]).await.len(), 1);

    sim.database().write_late("Vendors", [("VendorNum", 1_900.into()), ("Name", "late".into())]);
    sim.database().write("Vendors", [("VendorNum", 1_901.into()), ("Name", "soon".into())]);
    assert_eq!(column(&rows(&sim, VENDORS, &newer).await, "Name"), ["soon"]);
    sim.database().commit();
    assert_eq!(column(&rows(&sim, VENDORS, &newer).await, "Name"), ["late", "soon"]);

    let copy = sim.database().clone();
    assert!(sim.database().delete("Vendors", &[1_901.into()]));
    assert_eq!(column(&rows(&sim, VENDORS, &newer).await, "Name"), ["late"]);
    sim.database().restore(&copy);
    assert_eq!(column(&rows(&sim, VENDORS, &newer).await, "Name"), ["late", "soon"]);
}

#[tokio::test]
async fn the_same_seed_makes_the_same_rows() {
    let (one, two) = (default_company().await, default_company().await);
    let content = |sim: &KineticSim| -> Vec<[Option<String>; 3]> {
        sim.rows("APInvoices")
            .iter()
            .map(|row| ["InvoiceNum", "InvoiceAmt", "DueDate"].map(|name| row.text(name)))
            .collect()
    };
    assert_eq!(content(&one), content(&two));
    assert_eq!(one.random_changes("Vendors", 20, 3), two.random_changes("Vendors", 20, 3));
    assert_eq!(one.truth_count("Vendors"), 54);
}

#[tokio::test]
async fn faults_strike_as_scripted_and_leave_no_secret_in_the_log() {
    let sim = default_company().await;
    let unavailable = Effect::Status { status: 503, body: "{}".to_owned(), retry_after: Some(7) };
    sim.faults().push(Fault::on("/Vendors", unavailable).nth(2).times(2));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        statuses.push(get(&sim, VENDORS, &[]).await.0);
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    assert_eq!(sim.faults().count("/Vendors"), 4);
    assert!(!sim.faults().requests().iter().any(|line| line.contains(sim.api_key()) || line.contains(sim.password())));

    // The answer is lost, but the work is done.
    sim.faults().push(Fault::on("UpdateExt", Effect::DropAfter));
    let change = json!({"ds": {"Vendor": [{"VendorNum": 1_001, "City": "Done", "RowMod": "U"}]}});
    let request = reqwest::Client::new().post(format!("{}/api/v2/odata/EPIC06/Erp.BO.VendorSvc/UpdateExt", sim.url()));
    let lost = identified(&sim, request.json(&change)).send().await;
    assert!(match lost {
        Ok(response) => response.bytes().await.is_err(),
        Err(_) => true,
    });
    assert_eq!(rows(&sim, VENDORS, &[("$filter", "City eq 'Done'")]).await.len(), 1);

    sim.faults().push(Fault::on("/Vendors", Effect::CutBody(40)));
    let request = reqwest::Client::new().get(format!("{}{}", sim.url(), path(VENDORS, &[])));
    let mut cut = identified(&sim, request).send().await.unwrap();
    assert_eq!((cut.status().as_u16(), cut.chunk().await.unwrap().map(|part| part.len())), (200, Some(40)));
    assert!(cut.chunk().await.is_err());
}

#[tokio::test]
async fn rows_can_be_moved_between_pages() {
    let sim = default_company().await;
    sim.on_page(|database, page| {
        if page == 1 {
            database.write("Vendors", [("VendorNum", 1_000.into()), ("City", "Moved".into())]);
        }
    });
    let order = [("$orderby", "SysRevID"), ("$top", "1")];
    assert_eq!(column(&rows(&sim, VENDORS, &order).await, "VendorNum"), [1_000]);
    assert_eq!(column(&rows(&sim, VENDORS, &order).await, "VendorNum"), [1_001]);
}
