<?php
// Sends a text through an MQTT broker, and waits until it was sent or refused.
//
//   composer require php-mqtt/client
//   MQTT_HOST=broker.example MQTT_USER=shop MQTT_PASSWORD=... php publish_mqtt.php +6281234567890 'Your parcel is here'

declare(strict_types=1);

require __DIR__ . '/vendor/autoload.php';

use PhpMqtt\Client\ConnectionSettings;
use PhpMqtt\Client\MqttClient;

[, $to, $text] = $argv;
$gateway = getenv('GATEWAY') ?: 'gate1';
$id = bin2hex(random_bytes(16));

$settings = (new ConnectionSettings())
    ->setUsername(getenv('MQTT_USER'))
    ->setPassword(getenv('MQTT_PASSWORD'))
    ->setUseTls(true)
    ->setTlsVerifyPeer(true)
    ->setTlsVerifyPeerName(true);
if (getenv('CA_FILE')) {
    $settings = $settings->setTlsCertificateAuthorityFile(getenv('CA_FILE'));
}
$client = new MqttClient(getenv('MQTT_HOST'), (int) (getenv('MQTT_PORT') ?: 8883), "shop-$id");
$client->connect($settings, true);

$last = '';
$client->subscribe("smsstatus/$id", function (string $topic, string $message) use ($client, &$last) {
    $last = json_decode($message, true, 8, JSON_THROW_ON_ERROR)['status'];
    echo $last, "\n";
    if (in_array($last, ['sent', 'delivered', 'failed', 'expired', 'refused'], true)) {
        $client->interrupt();
    }
}, MqttClient::QOS_AT_LEAST_ONCE);

// Never with the retain flag (the last argument): it would lie at the broker for all to read.
$body = json_encode(['id' => $id, 'to' => $to, 'text' => $text], JSON_THROW_ON_ERROR);
$client->publish("smsoutnew/$gateway", $body, MqttClient::QOS_AT_LEAST_ONCE, false);
$client->registerLoopEventHandler(function (MqttClient $client, float $elapsed) {
    if ($elapsed > 60) {
        $client->interrupt();
    }
});
$client->loop(true);
$client->disconnect();

exit(in_array($last, ['sent', 'delivered'], true) ? 0 : 1);
