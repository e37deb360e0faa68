#pragma once

#include <string_view>

// Keys and signatures made by other implementations, for tests ONLY: the private halves are public knowledge.
namespace podpass::jose::test {

constexpr std::string_view kEcPem = R"(-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMAOQpl3MiHvK/QzZ
wzF2tvcFt5OmJSHOHxi5KH19kL2hRANCAAT+gJnLaTQfOMVJ4tIK0czmjvHmdVOs
Ct8/Np/uLpOGxOlFN6HGGJb1/9063/6Urs7D2duMQln74pMdSDceXkg6
-----END PRIVATE KEY-----
)";

constexpr std::string_view kRsaPem = R"(-----BEGIN PRIVATE KEY-----
MIIEvAIBADANBgkqhkiG9w0BAQEFAASCBKYwggSiAgEAAoIBAQCSyX2hom7dYTRL
cRzXIFmwTlvm+3nQ4fzr2iO2Pp1lNUqcJmhcYdpk72M21qMjvtcuG2clQaZbEJGp
GO/0BRXIJAJcgxw/4rCLci5MV2LZ2fHFKhwQsjpY9Q298I2H0K4LV1gV3XsX/WPK
c1FCQ8E2IPnmKrRMoX0RnLvXlh+pV2QzEq0eN0LaKu9qzg+4qDGr5k5Fw+I3K8bl
9iSquCcAAv9HqII+C8Qe3zRzafEbKFZefdM1XKMLRjm9KWYB2xUyTywQGmvDy3Rd
3JtXlkRDM87LLyvZyTWRH8bh+EFe04VHVJAkRFDJ3bPkdsH2ESeVIp6q8bgnMzFV
heBG5jYJAgMBAAECggEAF5+QVblJzNyWOTb+zHtzG738qeeacvzPwthkS3H3zEA/
nfJLdOS1rG1fYwW3kyrlQBEecD9IydqYiqWOBpBj8UYkUCW0n+54ebS6UUR2Dvf1
okTU5/X7EHJ9z+39JRi3TfF0Zm5y30lDLGOTNg4n8/FqLnn8cuHBelpmW7uYJF1D
BqR7W0Bmqlzs596DDn+qW8ZKI4AJQu/60ziakRKKXXY6PVd80BNKk3kI7aTajqDV
Mg6Dfk6FOcoAvjmBq6hxjB0Mmhx0rULDA+XdyXyRUs+3aE4/tuQRFFYvkWFXBgKl
A8Ni1XONgMksQA1G0vzQQRluVyg41kSvIGGmgiGeJQKBgQDE0ETLSMNuoXyOiZEw
u9nOVIeV+8xoYXyda2oxRV6ddBdtPNHxufddNqGFRdeOFsEznqLkoCl2Ae9HUpTl
7Hy/IaekaZysS8H84Av0ETURQUNqapQBHFwGk52I4aPs08M+KGirnxZIzTEwgwMG
4fR2hDHICEgslLYsjpSQJK9aZQKBgQC+7exsDj33SaOKaF3XBSNd6XU76FE59tua
bzg2XpTXONwu8fwEou0xglCxAyNTnHSvAyry1bCGx55OF1ikiR4bs8nWvGOTdYCH
9kdNIJFfAMXkn2GTYlV9LxoCcvFYrdpgMhrG95+vRxrdHrREKKxHADaKzvHNYp+9
7rL2LQAA1QKBgF+fFJ1zp8f7W4nhGpKD4imV9h4PrVtVafcNthVkL7juK2eech4w
jRdTsJwQt87IDWwn+dp8WkiEXh3X6JHhGSa/kjSWP1GSqRhUPlqBdbgBbmCokWoM
vkVPuO1FO6CXrjdn6JrhezE5yFlafcD9TQm75nfaVj6arfvt9g4mVK/lAoGAFUmb
wZR47jhkporqY43sGo1sB8joPYk7hOV/o/g5qiFp00YhrjaoMYvxCTtrVegszlKR
GFAhBXX+PYC23ml3VOlfyLRqecdxFDeuTXgjHS+N4OawT2l4VKPKx5kfNZ70qSMM
/0AeqsFHyn2g5bSPOL9aVXGrXhXv75JMm8v6ox0CgYBxylLkPEO3O4kejXJbtmW8
UjoVMXU/1GVp2qE7XFb1JBNqVmp3z4RDHr9/9m51LP+mfecYcVVyVawDaete/eut
KWPZ4Exmgqij3hHqOXg0544rJIcnlDLOGW/5TynC3kEaT9AKksYxdgblPOpyMUuv
lZrgsF3llgZWdAICyohQYw==
-----END PRIVATE KEY-----
)";

// Of kRsaPem and kEcPem, in this order.
constexpr std::string_view kJwks =
    R"({"keys":[{"use":"sig","kty":"RSA","kid":"BZiKCXwXjvDEgZdJEa8uZE2sLpYQUixYxEpUaZ245xA","alg":"RS256","n":"ksl9oaJu3WE0S3Ec1yBZsE5b5vt50OH869ojtj6dZTVKnCZoXGHaZO9jNtajI77XLhtnJUGmWxCRqRjv9AUVyCQCXIMcP-Kwi3IuTFdi2dnxxSocELI6WPUNvfCNh9CuC1dYFd17F_1jynNRQkPBNiD55iq0TKF9EZy715YfqVdkMxKtHjdC2irvas4PuKgxq-ZORcPiNyvG5fYkqrgnAAL_R6iCPgvEHt80c2nxGyhWXn3TNVyjC0Y5vSlmAdsVMk8sEBprw8t0XdybV5ZEQzPOyy8r2ck1kR_G4fhBXtOFR1SQJERQyd2z5HbB9hEnlSKeqvG4JzMxVYXgRuY2CQ","e":"AQAB"},{"use":"sig","kty":"EC","kid":"2CC1XHmgnolodvly99jQFcxpMOpET06VUKsAJZUIk0A","crv":"P-256","alg":"ES256","x":"_oCZy2k0HzjFSeLSCtHM5o7x5nVTrArfPzaf7i6ThsQ","y":"6UU3ocYYlvX_3Trf_pSuzsPZ24xCWfvikx1INx5eSDo"}]})";

constexpr std::string_view kLegacyPayload =
    R"({"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"default","kubernetes.io/serviceaccount/secret.name":"default-token-abcde","kubernetes.io/serviceaccount/service-account.name":"default","kubernetes.io/serviceaccount/service-account.uid":"11111111-2222-4333-8444-555555555555","sub":"system:serviceaccount:default:default"})";
constexpr std::string_view kLegacyRs256 =
    "g3_L1kVp8y0__vYZnU5q3hmlSlY0b_OcIqGvpCyt7dZv_Rofk0WnKN2VEYHqe41tswYYx19z1hwboOqjMAqsnR2dh9eg5lYwVKKDpF-a3HZNTZRL5XfwckE_hyr9c-"
    "nHazmYFakFHnF4JQoRn7jEpJ2KruamfnV4HCykDBqUb_nupgcfXhQhOau9lS9Br6gQGqTls67VJsWEn2r-VLCyjj7U7FPl119jp9X5qAZVTV35XuF_"
    "j7XyrbFzV67nEqfPWYso7yYKbyfsxWiZVLL1yTFvPsDHAY0pvizLHTnQcwuoxiV10mt241owwuBKCGUCpUxwmR4RIPeoeWwu8LmYKQ";

constexpr std::string_view kBoundPayload =
    R"({"aud":["https://kubernetes.default.svc"],"exp":1731536000,"iat":1700000000,"iss":"https://issuer.example","jti":"99999999-8888-4777-8666-555555555555","kubernetes.io":{"namespace":"default","node":{"name":"node-1","uid":"33333333-2222-4111-8000-999999999999"},"pod":{"name":"web-0","uid":"22222222-3333-4444-8555-666666666666"},"serviceaccount":{"name":"default","uid":"11111111-2222-4333-8444-555555555555"},"warnafter":1700003607},"nbf":1700000000,"sub":"system:serviceaccount:default:default"})";
constexpr std::string_view kBoundRs256 =
    "hdyj_o3cPCTibRXtDuo7-vVzy6_UVGPKHlehd2jvHLHLCgqrFRdgR5UToTsQgOYNKJoATQaMP5pOG0q1ZFTzYSXpxAixCTHvN_hMVYEFc-8VXH1E-"
    "cCO7KQx2hVpCYie4ZVtkcQ0AF0dZylF5YmYJolAKoGSodmrPZorYogbs5_kFNwV8pPDE15mmr23otxw_-"
    "vls9dhoi9J9TtF5l99GOPRaeKbSBqQWxedGUHa9cgPkySKtXdrEhLLooyu5wFWk5n6RGqUEjGwas2lkxyQpe8U4ANrhNcaSstHZYucYcV20LcXJv4cBWPD53GDgmXPE3nC8y5F"
    "9hO4dODND3f04Q";
constexpr std::string_view kBoundEs256 = "kePc63YtZRsWQrzeZFDPg9in4WsTp6Yy_hwe7nMAJWDculTW5ncqtyQ88kmC5FbP1fg0QvfxCbJvAhlx05VtRw";

}  // namespace podpass::jose::test
