//! Reading `$metadata`.

use epicor_kinetic::{EdmType, ErrorKind};

use crate::fake;

const VENDORS: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx">
  <edmx:DataServices>
    <Schema Namespace="Erp" xmlns="http://docs.oasis-open.org/odata/ns/edm">
      <EntityType Name="Base" Abstract="true">
        <Key><PropertyRef Name="Company"/></Key>
        <Property Name="Company" Type="Edm.String" Nullable="false" MaxLength="8"/>
      </EntityType>
      <EntityType Name="Vendor">
        <Key><PropertyRef Name="Company" /><PropertyRef Name="VendorNum" /></Key>
        <Property Name="Company" Type="Edm.String" Nullable="false" MaxLength="8" />
        <Property Name="VendorNum" Type="Edm.Int32" Nullable="false" />
        <Property Name="Limit_c" Type="Edm.Decimal" Precision="18" Scale="4"></Property>
        <Property Name="Free" Type="Edm.Decimal" Scale="variable" />
        <Property Name="Note" Type="Edm.String" MaxLength="max" />
        <Property Name="ChangeDate" Type="Edm.DateTimeOffset" />
        <Property Name="SysRevID" Type="Edm.Int64" Nullable="false" />
        <Property Name="Tags" Type="Collection(Edm.String)" />
        <NavigationProperty Name="VendorPPs" Type="Collection(Erp.VendorPP)" />
      </EntityType>
      <EntityType Name="VendorPP" BaseType="Erp.Base">
        <Property Name="PurPoint" Type="Edm.String" Nullable="false"/>
      </EntityType>
      <EntityType Name="Empty"/>
    </Schema>
    <Schema Namespace="Default" xmlns="http://docs.oasis-open.org/odata/ns/edm">
      <Action Name="GetRows" IsBound="false"><Parameter Name="whereClauseVendor" Type="Edm.String"/></Action>
      <Action Name="GetRows" IsBound="true"/>
      <Action Name="UpdateExt"/>
      <EntityContainer Name="Container">
        <EntitySet Name="Vendors" EntityType="Erp.Vendor"><NavigationPropertyBinding Path="VendorPPs" Target="VendorPPs"/></EntitySet>
        <EntitySet Name="VendorPPs" EntityType="Alias.VendorPP"/>
      </EntityContainer>
    </Schema>
  </edmx:DataServices>
</edmx:Edmx>"#;

#[tokio::test]
async fn columns_types_and_keys_of_a_service_are_known() {
    let (client, log) = fake::client(|_, _| fake::answer(200, VENDORS));
    let metadata = client.metadata("Erp.BO.VendorSvc").await.unwrap();
    assert_eq!(log.last().uri().path(), "/live/api/v2/odata/EPIC06/Erp.BO.VendorSvc/$metadata");
    assert_eq!(metadata.entity_sets().collect::<Vec<_>>(), ["Vendors", "VendorPPs"]);
    assert_eq!(
        metadata.actions().iter().map(|action| action.name.as_str()).collect::<Vec<_>>(),
        ["GetRows", "UpdateExt"]
    );
    let vendor = metadata.entity_type_of("Vendors").unwrap();
    assert_eq!(vendor.name, "Erp.Vendor");
    assert_eq!(vendor.keys, ["Company", "VendorNum"]);
    assert_eq!(vendor.navigations, ["VendorPPs"]);
    let names: Vec<_> = vendor.properties.iter().map(|property| property.name.as_str()).collect();
    assert_eq!(names, ["Company", "VendorNum", "Limit_c", "Free", "Note", "ChangeDate", "SysRevID", "Tags"]);
    let limit = vendor.property("Limit_c").unwrap();
    assert_eq!((&limit.edm_type, limit.nullable), (&EdmType::Decimal, true));
    assert_eq!((limit.precision, limit.scale), (Some(18), Some(4)));
    assert_eq!(vendor.property("Company").unwrap().max_length, Some(8));
    assert!(!vendor.property("Company").unwrap().nullable);
    assert_eq!((vendor.property("Free").unwrap().scale, vendor.property("Note").unwrap().max_length), (None, None));
    assert_eq!(vendor.property("Tags").unwrap().edm_type, EdmType::Other("Collection(Edm.String)".to_owned()));
    assert_eq!(vendor.user_defined().map(|property| property.name.as_str()).collect::<Vec<_>>(), ["Limit_c"]);
    assert!(metadata.entity_type_of("vendors").is_none());
}

#[tokio::test]
async fn derived_types_have_what_their_base_has_and_aliases_are_followed() {
    let (client, _) = fake::client(|_, _| fake::answer(200, VENDORS));
    let metadata = client.metadata("Erp.BO.VendorSvc").await.unwrap();
    let points = metadata.entity_type_of("VendorPPs").unwrap();
    let names: Vec<_> = points.properties.iter().map(|property| property.name.as_str()).collect();
    assert_eq!((names, &points.keys[..]), (vec!["Company", "PurPoint"], &["Company".to_owned()][..]));
    assert_eq!(metadata.entity_types().len(), 4);
}

#[tokio::test]
async fn a_query_has_metadata_of_its_own() {
    let (client, log) = fake::client(|_, _| fake::answer(200, format!("\u{feff}{VENDORS}")));
    client.baq_metadata("KT-Spend").await.unwrap();
    assert_eq!(log.last().uri().path(), "/live/api/v2/odata/EPIC06/BaqSvc/KT-Spend/$metadata");
}

#[tokio::test]
async fn anything_else_is_not_taken_for_metadata() {
    for body in ["", "{}", "<html><body>Sign in</body></html>", "<edmx:Edmx><Schema></edmx:Edmx>", "<a"] {
        let (client, _) = fake::client(move |_, _| fake::answer(200, body));
        assert_eq!(client.metadata("Erp.BO.VendorSvc").await.unwrap_err().kind(), ErrorKind::Decode, "{body}");
    }
}

#[test]
fn type_names_read_back_as_themselves() {
    for name in ["Edm.String", "Edm.Boolean", "Edm.Int64", "Edm.Guid", "Edm.Date", "Edm.Geography", "Erp.Vendor", ""] {
        let parsed: EdmType = name.parse().unwrap();
        assert_eq!(parsed.as_str(), name);
    }
    assert_eq!("Edm.Decimal".parse::<EdmType>().unwrap(), EdmType::Decimal);
}
